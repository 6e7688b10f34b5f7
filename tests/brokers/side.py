"""The other side of a queue, as tests see it: what a real broker holds, and a broker that a test may kill.

The law of this file: nothing of any kind of broker. Tests on a shared broker make queues of their own and look at
nothing else; whoever does a broker harm starts one.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

READY_MAX_S = 60
"""How long a broker may take to start, on a busy machine."""


class Received(NamedTuple):
    """A message as a consumer finds it: the id that the broker knows it by, if it has such a thing."""

    message_id: str
    headers: Mapping[str, str]
    body: bytes


class Full(NamedTuple):
    """A queue that has no room, what is said of it, and what makes room."""

    url: str
    why: str
    make_room: Callable[[], None]


class Side(ABC):
    """A broker at ``url``, which ends before the place that a message goes to."""

    variable: str
    program: str
    package: str
    fills_a_queue = True
    """Whether ``full`` is about one queue, so that others may use the broker meanwhile."""

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    def shared(cls) -> Side:
        """The broker that the environment names; skips the test when it names none."""
        if not (url := os.environ.get(cls.variable)):
            pytest.skip(f"no broker here: set {cls.variable} to its URL (apt-get install {cls.package}); .ci/run does")
        return cls(url)

    def queue(self) -> str:
        """A new, empty queue: the URL that flowtx is given."""
        return self.make_queue(f"flowtx-{secrets.token_hex(6)}")

    @abstractmethod
    def make_queue(self, name: str) -> str:
        """A new, empty queue of this name."""

    @abstractmethod
    def untaken(self) -> tuple[str, str]:
        """A URL where this broker takes no message, and what is said of it."""

    @abstractmethod
    def full(self) -> Full:
        """A queue without room, perhaps because the whole broker has none; empty once there is room."""

    @abstractmethod
    def received(self, url: str) -> list[Received]:
        """The messages in a queue, oldest first; a broker that hands each out once does so."""

    @classmethod
    @abstractmethod
    def command(cls, port: int, folder: Path) -> list[str]:
        """What starts a broker of one's own, which keeps what it has confirmed in ``folder``."""

    @classmethod  # noqa: B027 - of most kinds nothing is left
    def end(cls, folder: Path) -> None:
        """End what is left of a broker that was killed."""

    @classmethod
    @abstractmethod
    def at(cls, port: int) -> Side:
        """The broker that was started on a port."""

    @abstractmethod
    def is_up(self) -> bool:
        """True when it can be spoken to."""


@dataclass(slots=True)
class BrokerProcess:
    """A broker of a test's own: it can be killed, and started again on its port and what it had."""

    kind: type[Side]
    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Side:
        """Start it and wait until it can be spoken to."""
        with (self.folder / "log").open("ab") as log:
            command = self.kind.command(self.port, self.folder)
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        side = self.kind.at(self.port)
        until = time.monotonic() + READY_MAX_S
        while not side.is_up():
            assert time.monotonic() < until, f"no broker after {READY_MAX_S} s: {(self.folder / 'log').read_text()}"
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.05)
        return side

    def kill(self) -> None:
        """``kill -9`` it, in the middle of whatever it does."""
        if self.process is not None:
            with suppress(ProcessLookupError):  # it has ended by itself, which whoever waits for it says
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
            self.kind.end(self.folder)

    def stop(self) -> None:
        """Let it hang: whatever it is sent waits."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on where it stands."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)


@contextmanager
def own_broker(kind: type[Side], folder: Path) -> Generator[BrokerProcess]:
    """A broker of one's own, not started yet; killed on leaving. Skips the test when its program is not there."""
    if shutil.which(kind.program) is None:
        pytest.skip(f"no {kind.program} here: apt-get install {kind.package}")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    broker = BrokerProcess(kind, port, folder)
    try:
        yield broker
    finally:
        broker.kill()
