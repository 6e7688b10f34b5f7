"""The server: an engine, the DTM protocol on top of it, and Hypercorn below.

The law of this file: it puts parts together and decides nothing. Whatever can go wrong before the first request says
what to do; when it is asked to stop, requests and calls in flight end, within the grace period, and nothing is lost.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from functools import partial

import trio
from hypercorn.config import Config

from flowtx.dtm.branches import PATTERNS
from flowtx.dtm.connections import serve_app
from flowtx.dtm.http import make_app
from flowtx.dtm.listening import BACKLOG_MAX, listen
from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.orders import STEPS_MAX
from flowtx.dtm.pages import PAGES
from flowtx.dtm.routes import Answer
from flowtx.dtm.test_mode import make_control_app
from flowtx.observers.metrics import CONTENT_TYPE
from flowtx.observers.watch import watching
from flowtx.settings import Settings
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.codec import PayloadCodec
from flowtx_engine.runtime.clock import MovableClock
from flowtx_engine.runtime.limits import EngineLimits
from flowtx_engine.runtime.open import open_engine

WORKFLOWS: tuple[AnyWorkflow, ...] = tuple(PATTERNS.values())
"""DTM's patterns that this version runs."""
METRICS_PATH = "/api/metrics"


async def serve(
    settings: Settings,
    *,
    workflows: Iterable[AnyWorkflow] = (),
    codec: PayloadCodec | None = None,
    shutdown: Callable[[], Awaitable[None]] = trio.sleep_forever,
    grpc_started: Callable[[str], None] = lambda address: None,
    say_test_mode: Callable[[str], None] = lambda url: None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the DTM protocol until ``shutdown`` returns; started with the base URL, ``http://127.0.0.1:36789``.

    ``workflows`` are recovered beside DTM's own patterns; a ``codec`` encodes the payloads. ``grpc_started`` is told
    the address of the gRPC API, ``127.0.0.1:36790``, unless it is switched off. In test mode, ``say_test_mode`` is told
    first where its control API is. Raises ``BindError`` when an address cannot be used and ``JournalError`` when the
    database cannot.
    """
    with ExitStack() as listeners:
        listener = listeners.enter_context(listen(settings.bind))
        if settings.serves_grpc:
            listen(settings.grpc_bind, "grpc_bind").close()  # before anything is touched: grpcio cannot be asked yet
        control = None
        if settings.test_mode:
            control = listeners.enter_context(listen(f"127.0.0.1:{settings.test_port}", "test_port"))
        async with (
            open_engine(
                settings.db,
                workflows=(*WORKFLOWS, *workflows),
                limits=limits_of(settings),
                codec=codec,
                clock=MovableClock() if settings.test_mode else None,
            ) as engine,
            watching(engine, settings) as watch,
            _grpc_beside(Desk(engine=engine, settings=settings, served=watch.served), grpc_started) as begin_grpc_stop,
            trio.open_nursery() as beside,
        ):

            async def until_shutdown() -> None:
                await shutdown()
                begin_grpc_stop()  # at the same time as Hypercorn's end, so that one grace period is enough

            if control is not None:
                control_app = make_control_app(engine.by_hand(), wait_told=watch.wait_told)
                beside.start_soon(serve_app, control_app, hypercorn_config(settings), control, trio.sleep_forever)
                say_test_mode(url_of(control))
            pages = {**PAGES, METRICS_PATH: lambda: Answer(200, watch.metrics.text(), CONTENT_TYPE)}
            app = make_app(engine, settings, served=watch.served, pages=pages)
            task_status.started(url_of(listener))
            await serve_app(app, hypercorn_config(settings), listener, until_shutdown)
            beside.cancel_scope.cancel()


def url_of(listener: socket.socket) -> str:
    """The base URL of what is served on a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@asynccontextmanager
async def _grpc_beside(desk: Desk, started: Callable[[str], None]) -> AsyncGenerator[Callable[[], object]]:
    """The gRPC API, unless it is switched off; gives what begins its end."""
    settings = desk.settings
    if not settings.serves_grpc:
        yield lambda: None
        return
    from flowtx.dtm.grpc_server import open_grpc_server  # noqa: PLC0415 - heavy, and its threads begin with it

    async with open_grpc_server(desk, settings) as server:
        started(server.address)
        yield partial(server.begin_stop, settings.grace_s)


def limits_of(settings: Settings) -> EngineLimits:
    """What the engine is told of the settings."""
    return EngineLimits(
        active_max=settings.active_max,
        # In test mode whatever waits is nobody's, so that it can be taken up when the test says.
        park_after_s=0.0 if settings.test_mode else settings.park_after_s,
        heartbeat_s=settings.heartbeat_s,
        grace_s=settings.grace_s,
        retention_s=settings.retention_s,
        # Payloads are kept in base 64, four characters for three bytes, and every step has some words around it.
        payload_bytes_max=max(settings.payload_bytes_max, 2 * settings.body_max_bytes + 200 * STEPS_MAX),
    )


def hypercorn_config(settings: Settings) -> Config:
    """How Hypercorn runs: one process, no access log (it would cost more than the request)."""
    config = Config()
    config.loglevel = "WARNING"
    config.errorlog = logging.getLogger("hypercorn.error")  # else it would write to stderr itself, beside the log
    config.backlog = BACKLOG_MAX
    config.keep_alive_timeout = settings.keep_alive_s
    config.keep_alive_max_requests = 2**63
    config.graceful_timeout = settings.grace_s
    config.include_server_header = False
    return config
