"""The server: an engine, the DTM protocol on top of it, and Hypercorn below.

The law of this file: it puts parts together and decides nothing. Whatever can go wrong before the first request says
what to do; when it is asked to stop, requests and calls in flight end, within the grace period, and nothing is lost.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable, Iterable

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config, Sockets
from hypercorn.trio.run import worker_serve
from quart import Quart

from flowtx.dtm.http import make_app
from flowtx.dtm.sagas import STEPS_MAX
from flowtx.dtm.test_mode import make_control_app
from flowtx.settings import Settings, address_of
from flowtx_dsl.errors import FlowtxError
from flowtx_dsl.patterns.saga import saga
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.codec import PayloadCodec
from flowtx_engine.runtime.clock import MovableClock
from flowtx_engine.runtime.limits import EngineLimits
from flowtx_engine.runtime.open import open_engine

WORKFLOWS: tuple[AnyWorkflow, ...] = (saga,)
"""DTM's patterns that this version runs."""
BACKLOG_MAX = 1024
"""Connections that wait to be accepted; DTM's Go clients open many and keep few."""


class BindError(FlowtxError):
    """The server cannot listen on the address it was given."""

    remedy = "Stop whatever listens there, or choose another address or port with --bind."


async def serve(
    settings: Settings,
    *,
    workflows: Iterable[AnyWorkflow] = (),
    codec: PayloadCodec | None = None,
    shutdown: Callable[[], Awaitable[None]] = trio.sleep_forever,
    say_test_mode: Callable[[str], None] = lambda url: None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the DTM protocol until ``shutdown`` returns; started with the base URL, ``http://127.0.0.1:36789``.

    ``workflows`` are recovered beside DTM's own patterns; a ``codec`` encodes the payloads. In test mode,
    ``say_test_mode`` is told first where its control API is. Raises ``BindError`` when the address cannot be used and
    ``JournalError`` when the database cannot.
    """
    with contextlib.ExitStack() as listeners:
        listener = listeners.enter_context(open_listener(settings.bind))
        control = None
        if settings.test_mode:
            control = listeners.enter_context(open_listener(f"127.0.0.1:{settings.test_port}"))
        async with (
            open_engine(
                settings.db,
                workflows=(*WORKFLOWS, *workflows),
                limits=limits_of(settings),
                codec=codec,
                clock=MovableClock() if settings.test_mode else None,
            ) as engine,
            trio.open_nursery() as beside,
        ):
            if control is not None:
                control_app = make_control_app(engine.by_hand())
                beside.start_soon(_serve_app, control_app, settings, control, trio.sleep_forever)
                say_test_mode(url_of(control))
            task_status.started(url_of(listener))
            await _serve_app(make_app(engine, settings), settings, listener, shutdown)
            beside.cancel_scope.cancel()


async def _serve_app(
    app: Quart, settings: Settings, listener: socket.socket, shutdown: Callable[[], Awaitable[None]]
) -> None:
    await worker_serve(
        ASGIWrapper(app),
        hypercorn_config(settings),
        sockets=Sockets(secure_sockets=[], insecure_sockets=[listener], quic_sockets=[]),
        shutdown_trigger=shutdown,
    )


def url_of(listener: socket.socket) -> str:
    """The base URL of what is served on a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def limits_of(settings: Settings) -> EngineLimits:
    """What the engine is told of the settings."""
    return EngineLimits(
        active_max=settings.active_max,
        # In test mode whatever waits is nobody's, so that it can be taken up when the test says.
        park_after_s=0.0 if settings.test_mode else settings.park_after_s,
        heartbeat_s=settings.heartbeat_s,
        grace_s=settings.grace_s,
        # Payloads are kept in base 64, four characters for three bytes, and every step has some words around it.
        payload_bytes_max=max(settings.payload_bytes_max, 2 * settings.body_max_bytes + 200 * STEPS_MAX),
    )


def hypercorn_config(settings: Settings) -> Config:
    """How Hypercorn runs: one process, no access log (it would cost more than the request)."""
    config = Config()
    config.loglevel = "WARNING"
    config.backlog = BACKLOG_MAX
    config.keep_alive_timeout = settings.keep_alive_s
    config.keep_alive_max_requests = 2**63
    config.graceful_timeout = settings.grace_s
    config.include_server_header = False
    return config


def open_listener(bind: str) -> socket.socket:
    """A listening socket on an address and port; raises ``BindError``."""
    host, port = address_of(bind)
    host = host or "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restarted server must not wait for the connections of the one before to be forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG_MAX)
    except OSError as error:
        listener.close()
        why = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise BindError(f"cannot listen on {bind}: {why}") from error
    listener.setblocking(False)
    return listener
