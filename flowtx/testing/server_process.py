"""A server for tests of programs that use one: started for a test, with its time in the test's hands.

The law of this file: the server is a process of its own, as in production, so it can be used from sync tests, from trio
and beside asyncio; it ends with its test and keeps nothing, because its journal is in memory unless told otherwise.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import cast

import trio

from flowtx.testing.control import Control, Round
from flowtx_dsl.errors import FlowtxError

START_MAX_S = 60.0
"""How long a server may take to say that it serves."""
STOP_MAX_S = 10.0
"""How long it may take to end."""
LINES_KEPT = 200
"""Lines of its log that are shown when it does not start."""

_CONTROL = re.compile(r"flowtx is in test mode: (?P<control>http://\S+) ")
_SERVES = re.compile(r"flowtx serves the DTM protocol at (?P<url>http://[^\s,]+)(?: and grpc://(?P<grpc>[^\s,]+))?")


class ServerFailed(FlowtxError):
    """The server of a test did not start; the message holds what it said."""

    remedy = "Correct the settings that the test gives, or start `flowtx serve --test-mode` by hand to see more."


class Server:
    """A server under test: ``url`` is where DTM's clients find it, ``grpc_address`` where those of gRPC do.

    All methods block. ``control_url`` is the control API, for tests in other languages.
    """

    def __init__(self, process: subprocess.Popen[str], url: str, grpc_address: str, control: Control) -> None:
        self.url = url
        self.grpc_address = grpc_address
        self.control_url = control.url
        self._process = process
        self._control = control

    def advance(self, seconds: float) -> float:
        """Move the server's clock on: timers, retries and timeouts that are due then run. Returns the new time."""
        return self._control.advance(seconds)

    def reset(self) -> None:
        """Wait for what is in flight, then forget every transaction."""
        self._control.reset()

    def wait_idle(self, *, timeout_s: float = 30.0) -> None:
        """Return when nothing is in flight; what waits for its time may be left. Raises ``TimeoutError``."""
        until = time.monotonic() + timeout_s
        while self._control.in_flight():
            if time.monotonic() > until:
                raise TimeoutError(f"{self!r} is still at work after {timeout_s:g} s")
            time.sleep(0.005)

    def cron_once(self, *, now_forward_s: float = 0.0, cron_forward_s: float = 0.0) -> Round:
        """Do for one transaction what time would do; see the how-to on test mode."""
        return self._control.cron_once(now_forward_s=now_forward_s, cron_forward_s=cron_forward_s)

    def processed(self, *, wait_s: float = 0.0) -> list[str]:
        """The gids whose rounds ended since this was last asked, in order; waits for the first of them."""
        return self._control.processed(wait_s=wait_s)

    def set(self, *, recovery_enabled: bool | None = None, async_start_delay_s: float | None = None) -> None:
        """Whether what is due by time runs by itself, and how late work begins that nobody waits for."""
        self._control.set(recovery_enabled=recovery_enabled, async_start_delay_s=async_start_delay_s)

    def __repr__(self) -> str:
        return f"<Server {self.url}, process {self._process.pid}>"


class AsyncServer:
    """The same for trio: ``async with server() as it``; every method of ``Server``, to be awaited."""

    def __init__(self, server: Server) -> None:
        self.url = server.url
        self.grpc_address = server.grpc_address
        self.control_url = server.control_url
        self._server = server

    async def advance(self, seconds: float) -> float:
        """See ``Server.advance``."""
        return await trio.to_thread.run_sync(self._server.advance, seconds)

    async def reset(self) -> None:
        """See ``Server.reset``."""
        await trio.to_thread.run_sync(self._server.reset)

    async def wait_idle(self, *, timeout_s: float = 30.0) -> None:
        """See ``Server.wait_idle``."""
        await trio.to_thread.run_sync(lambda: self._server.wait_idle(timeout_s=timeout_s))

    async def cron_once(self, *, now_forward_s: float = 0.0, cron_forward_s: float = 0.0) -> Round:
        """See ``Server.cron_once``."""
        return await trio.to_thread.run_sync(
            lambda: self._server.cron_once(now_forward_s=now_forward_s, cron_forward_s=cron_forward_s)
        )

    async def processed(self, *, wait_s: float = 0.0) -> list[str]:
        """See ``Server.processed``."""
        return await trio.to_thread.run_sync(lambda: self._server.processed(wait_s=wait_s))

    async def set(self, *, recovery_enabled: bool | None = None, async_start_delay_s: float | None = None) -> None:
        """See ``Server.set``."""
        await trio.to_thread.run_sync(
            lambda: self._server.set(recovery_enabled=recovery_enabled, async_start_delay_s=async_start_delay_s)
        )

    def __repr__(self) -> str:
        return f"<Async{repr(self._server)[1:]}"


class server:  # noqa: N801 - read as a function: `with server() as it`
    """Starts a server in test mode for a block: a ``Server`` in ``with``, an ``AsyncServer`` in ``async with``.

    ``settings`` are those of ``flowtx serve`` by their names: ``server(app="bank", retry_interval_s=1)``. Unless they
    say otherwise, the journal is in memory and the ports are free ones. Raises ``ServerFailed``.
    """

    def __init__(self, **settings: object) -> None:
        free = {"bind": "127.0.0.1:0", "grpc_bind": "127.0.0.1:0", "test_port": 0}
        self._settings = {"db": "memory://", "log_level": "warning"} | free | settings
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Server:
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "flowtx.cli.main", "serve", "--test-mode", *_options(self._settings)],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            return _started(process)
        except BaseException:
            self._stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    async def __aenter__(self) -> AsyncServer:
        return AsyncServer(await trio.to_thread.run_sync(self.__enter__))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with trio.CancelScope(shield=True):  # it takes STOP_MAX_S at most
            await trio.to_thread.run_sync(self._stop)

    def _stop(self) -> None:
        process, self._process = self._process, None
        assert process is not None, "the block was entered"
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_MAX_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _options(settings: dict[str, object]) -> list[str]:
    options: list[str] = []
    for name, value in settings.items():
        spelling = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            options.append(spelling if value else f"--no-{spelling.removeprefix('--')}")
        elif isinstance(value, list | tuple):
            for each in cast("Sequence[object]", value):
                options += [spelling, str(each)]
        else:
            options += [spelling, str(value)]
    return options


def _environment() -> dict[str, str]:
    """This process's, without the settings in it, and able to import what this process can: the test's workflows."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLOWTX_")}
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _started(process: subprocess.Popen[str]) -> Server:
    """Read what the process says until it serves; after that its lines are forgotten, so that it never waits."""
    said: deque[str] = deque(maxlen=LINES_KEPT)
    found: dict[str, str] = {}
    done = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                said.append(line)
                for pattern in (_CONTROL, _SERVES):
                    match = pattern.match(line)
                    if match is not None:
                        found.update(match.groupdict(default=""))
                if "url" in found:
                    done.set()
        done.set()

    threading.Thread(target=read, name="flowtx server", daemon=True).start()
    if not done.wait(START_MAX_S) or "url" not in found:
        raise ServerFailed(f"flowtx serve did not start within {START_MAX_S:g} s; it said:\n{''.join(said)}")
    return Server(process, found["url"], found["grpc"], Control(found["control"]))
