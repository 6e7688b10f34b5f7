"""The server of DTM's gRPC API: grpcio's threads below, the operations on trio above.

The law of this file: it carries calls and answers and decides nothing. Every call that a thread took is answered, also
when the server ends meanwhile; when it has ended, none of its threads is left.

grpcio knows no event loop but asyncio's. Its threads hand a call over to a trio task and wait for the answer; an idle
one costs little, and so there may be many: a call that waits for a transaction's result keeps its thread. A caller that
goes away gives it back at once. Reflection has threads of its own, because each of its streams keeps one until it ends.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from threading import Event
from typing import Any

import grpc
import trio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from flowtx.dtm.arrivals import arrive
from flowtx.dtm.grpc_api import METHODS, Method, Status, answer
from flowtx.dtm.listening import BindError
from flowtx.dtm.operations.desk import Desk
from flowtx.protobuf import SERVICE, pool
from flowtx.settings import Settings, address_of

THREADS_MAX = 200
"""Calls that are carried out at once; more wait their turn."""
CALLS_MAX = 2_000
"""Calls that are carried out or wait; more are refused with RESOURCE_EXHAUSTED."""

REFLECTION_THREADS_MAX = 4
"""Streams of the reflection service that are answered at once; more wait their turn."""

LINGER_S = 0.5
"""How long answers may be on their way to their callers when all calls have been carried out and the server ends."""

HTTP_STATUSES = {"OK": 200, "ABORTED": 409, "FAILED_PRECONDITION": 425, "UNAVAILABLE": 503}
"""What statuses are over HTTP, for whoever counts answers; all others are 500 (spec 2.2)."""

GOING = Status(code="UNAVAILABLE", details="the transaction manager is shutting down; repeat the call at the next")


class GrpcServer:
    """A server that listens at ``address`` until its block is left; see ``open_grpc_server``."""

    def __init__(self, server: grpc.Server, servicer: health.HealthServicer, address: str) -> None:
        self.address = address
        self._server = server
        self._health = servicer
        self._stopped: Event | None = None

    def begin_stop(self, grace_s: float) -> Event:
        """Take no more calls, and end those under way within ``grace_s`` seconds; the event says when it has."""
        if self._stopped is None:
            self._health.enter_graceful_shutdown()
            self._stopped = self._server.stop(grace_s)
        return self._stopped

    def cut_streams(self) -> None:
        """End whatever is still open: streams of the health and reflection services, which never end by themselves."""
        self._server.stop(0.0)


@asynccontextmanager
async def open_grpc_server(desk: Desk, settings: Settings) -> AsyncGenerator[GrpcServer]:
    """Serve the gRPC API at the ``grpc_bind`` setting; when the block is left, calls end within the grace period.

    Raises ``BindError`` when the address cannot be used.
    """
    threads = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="flowtx-grpc")
    reflecting = ThreadPoolExecutor(REFLECTION_THREADS_MAX, thread_name_prefix="flowtx-grpc-reflection")
    server = grpc.server(threads, options=_options_of(settings), maximum_concurrent_rpcs=CALLS_MAX)
    address = _listen(server, settings.grpc_bind)
    raised: Exception | None = None
    async with trio.open_nursery() as calls:
        dispatcher = _Dispatcher(desk, calls)
        opened = GrpcServer(server, _add_services(server, dispatcher, reflecting), address)
        server.start()
        try:
            yield opened
        except Exception as error:
            raised = error  # kept from the nursery, which would wrap it
        finally:
            grace_s = 0.0 if trio.current_effective_deadline() == -float("inf") else settings.grace_s
            # Shielded: a thread without its answer would wait for ever, and the process with it.
            with trio.CancelScope(shield=True):
                stopped = opened.begin_stop(grace_s)
                with trio.move_on_after(grace_s):
                    await dispatcher.wait_quiet()
                    await trio.to_thread.run_sync(stopped.wait, LINGER_S)
                opened.cut_streams()
                dispatcher.close()
                # Not for ever: grpcio never has done with a stream of health or reflection whose message it cannot
                # read. Nothing of it is under way any more.
                await trio.to_thread.run_sync(stopped.wait, LINGER_S)
                for pool in (threads, reflecting):
                    await trio.to_thread.run_sync(pool.shutdown)
    if raised is not None:
        raise raised


class _Dispatcher(grpc.GenericRpcHandler):
    """Hands calls over from the server's threads to trio tasks in ``calls``."""

    def __init__(self, desk: Desk, calls: trio.Nursery) -> None:
        self._desk = desk
        self._calls = calls
        self._token = trio.lowlevel.current_trio_token()
        self._is_closed = False
        self._scopes: dict[Future[Status], trio.CancelScope] = {}
        self._under_way_count = 0
        self._all_done = trio.Event()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """What carries out a call, or None for a method that is not DTM's. Called in a thread."""
        service, _, name = handler_call_details.method.rpartition("/")
        method = METHODS.get(name) if service == f"/{SERVICE}" else None
        return (
            None
            if method is None
            else grpc.unary_unary_rpc_method_handler(partial(self._carry_out, name.lower(), method))
        )

    def _carry_out(self, api: str, method: Method, message: bytes, context: grpc.ServicerContext) -> bytes:
        """In a thread: have the call carried out, and wait for that."""
        promised: Future[Status] = Future()
        metadata = context.invocation_metadata()
        arrived = next((str(value) for name, value in metadata if name == "traceparent"), "")
        self._token.run_sync_soon(self._accept, arrived, api, method, message, promised)
        if not context.add_callback(partial(self._end, promised)):
            self._end(promised)  # it has ended already
        status = promised.result()
        context.set_code(grpc.StatusCode[status.code])
        context.set_details(status.details)
        return status.reply

    def _end(self, promised: Future[Status]) -> None:
        """In a thread: a call has ended, and if that is because its caller went away, nobody waits for its answer."""
        if not promised.done():
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._give_up, promised)

    def _give_up(self, promised: Future[Status]) -> None:
        if scope := self._scopes.get(promised):
            scope.cancel()

    def _accept(self, arrived: str, api: str, method: Method, message: bytes, promised: Future[Status]) -> None:
        if self._is_closed:
            promised.set_result(GOING)
            return
        self._under_way_count += 1
        self._calls.start_soon(self._answer, arrived, api, method, message, promised)

    async def _answer(self, arrived: str, api: str, method: Method, message: bytes, promised: Future[Status]) -> None:
        arrive(arrived)
        status = GOING  # what is said when this task is cancelled
        began_at = time.perf_counter()
        try:
            with trio.CancelScope() as self._scopes[promised]:
                status = await answer(method, self._desk, message)
        finally:
            del self._scopes[promised]
            promised.set_result(status)
            self._desk.served("grpc", api, HTTP_STATUSES.get(status.code, 500), time.perf_counter() - began_at)
            self._under_way_count -= 1
            if not self._under_way_count:
                self._all_done.set()

    async def wait_quiet(self) -> None:
        """Wait until no call is under way."""
        while self._under_way_count:
            self._all_done = trio.Event()
            await self._all_done.wait()

    def close(self) -> None:
        """Give up what is still under way, and whatever comes yet; threads that wait get their answer."""
        self._is_closed = True
        self._calls.cancel_scope.cancel()


def _options_of(settings: Settings) -> list[tuple[str, int]]:
    keep_alive_ms = max(1, round(settings.keep_alive_s * 1000))
    return [
        # grpcio keeps connections without a call for ever, and waits two minutes for the first word on one.
        ("grpc.max_connection_idle_ms", keep_alive_ms),
        ("grpc.server_handshake_timeout_ms", keep_alive_ms),
        ("grpc.max_receive_message_length", settings.body_max_bytes),
        ("grpc.max_send_message_length", -1),
        # Two servers on one port would share its calls at random, and neither would say so.
        ("grpc.so_reuseport", 0),
    ]


def _listen(server: grpc.Server, bind: str) -> str:
    host, port = address_of(bind, "grpc_bind")
    host = host or "0.0.0.0"
    shown = f"[{host}]" if ":" in host else host
    try:
        return f"{shown}:{server.add_insecure_port(f'{shown}:{port}')}"
    except RuntimeError as error:
        raise BindError(bind, "the address is in use, or is not this machine's", setting="grpc_bind") from error


def _add_services(
    server: grpc.Server, dispatcher: _Dispatcher, reflecting: ThreadPoolExecutor
) -> health.HealthServicer:
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for service in ("", SERVICE):
        servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    server.add_generic_rpc_handlers((dispatcher,))
    reflected = pool()
    for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        reflected.AddSerializedFile(file.serialized_pb)
    names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflector: Any = reflection.ReflectionServicer(names, pool=reflected)
    # grpcio looks for the threads at the function itself; a partial is this server's own.
    answering: Any = partial(reflector.ServerReflectionInfo)
    answering.experimental_thread_pool = reflecting
    reflector.ServerReflectionInfo = answering
    add: Any = getattr(reflection_pb2_grpc, "add_ServerReflectionServicer_to_server")  # noqa: B009 - it has no types
    add(reflector, server)
    return servicer
