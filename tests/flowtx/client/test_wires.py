"""What is the same, and what is missing, in the protocols that a server is asked in; and a gRPC server that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
import trio
import trio.testing
from google.protobuf.wrappers_pb2 import StringValue

from flowtx.client.async_client import AsyncDtmClient
from flowtx.client.errors import ClientError, ServerError, ServerOngoing, ServerRefused, ServerUnreachable
from flowtx.client.message import Message
from flowtx.client.saga import Saga, SagaStep
from flowtx.client.sync_client import DtmClient
from flowtx.client.wire import MissingOperation
from flowtx.client.workflows import Workflow, Workflows
from flowtx_dsl.errors import PayloadError, WorkflowError
from tests.flowtx.client.conftest import Addresses, Runner, over

PAID = StringValue(value="alice \N{BLACK HEART SUIT}")
BYTES = b"\x00\xff not a text"


def missing(dtm: DtmClient) -> list[Callable[[], object]]:
    return [lambda: dtm.query("g-1"), lambda: dtm.force_stop("g-1")]


def test_what_a_protocol_has_not_is_said_before_anything_is_sent(flowtx_addresses: Addresses) -> None:
    def trip(workflow: Workflow, data: None) -> None: ...

    with DtmClient(flowtx_addresses.grpc) as dtm:
        for ask in missing(dtm):
            with pytest.raises(MissingOperation, match=r"DTM's gRPC API has no (query|forceStop)"):
                ask()
        with pytest.raises(WorkflowError, match="concurrent, which DTM's gRPC API cannot say"):
            dtm.submit(Message(gid="g-1", steps=(), concurrent=True))
    dtm = DtmClient(flowtx_addresses.json_rpc)
    workflows = Workflows(dtm, "http://me/resume")
    workflows.register(trip)
    more: list[Callable[[], object]] = [
        lambda: dtm.subscribe("t", "http://a"),
        lambda: dtm.unsubscribe("t", "http://a"),
        lambda: dtm.delete_topic("t"),
        lambda: workflows.execute(trip, None, gid="g-1"),
    ]
    for ask in missing(dtm) + more:
        with pytest.raises(MissingOperation, match="JSON-RPC API has no"):
            ask()


@pytest.mark.parametrize("payload", [PAID, BYTES, bytearray(b"1")])
def test_what_is_no_text_travels_over_grpc_only(payload: object) -> None:
    for url in ("http://dtm:1", "http://dtm:1/api/json-rpc"):
        dtm = DtmClient(url, send=lambda request: pytest.fail(f"sent {request}"))
        with pytest.raises(PayloadError, match=r"payload of step 0 of saga g-1 is a .*JSON texts over"):
            dtm.submit(Saga(gid="g-1", steps=(SagaStep(action="http://a", payload=payload),)))


@pytest.mark.parametrize("action", ["localhost:1/Bank/Out", "localhost/out", "htp://a/b"])
def test_a_url_that_the_server_could_never_call_is_refused(action: str) -> None:
    dtm = DtmClient("http://dtm:1", send=lambda request: pytest.fail(f"sent {request}"))
    step = SagaStep(action="http://a", compensate=action)
    with pytest.raises(WorkflowError, match=r"step 0 of saga g-1 has the URL .*expected http"):
        dtm.submit(Saga(gid="g-1", steps=(step,)))


def test_a_grpc_server_that_is_not_there_is_unreachable(runner: Runner) -> None:
    with pytest.raises(ServerUnreachable, match=r"dtmgimp.Dtm/NewGid ended in UNAVAILABLE: .+"):
        over(runner, "grpc://127.0.0.1:1", lambda dtm: dtm.new_gid(), lambda dtm: dtm.new_gid())


@pytest.fixture
def silent() -> Iterator[str]:
    """A gRPC server that answers when it is told to stop."""
    done = futures.Future[bytes]()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    untyped: Any = grpc

    def wait(request: bytes, context: grpc.ServicerContext) -> bytes:
        return done.result()

    method = untyped.unary_unary_rpc_method_handler(wait)
    server.add_generic_rpc_handlers((untyped.method_handlers_generic_handler("dtmgimp.Dtm", {"NewGid": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"grpc://127.0.0.1:{port}"
    done.set_result(b"")
    server.stop(None).wait(20)


def test_a_grpc_server_that_keeps_silent_is_given_up(silent: str) -> None:
    with DtmClient(silent, timeout_s=0.2) as dtm, pytest.raises(ServerUnreachable, match="DEADLINE_EXCEEDED"):
        dtm.new_gid()


def test_a_cancelled_call_over_grpc_ends_at_once(silent: str) -> None:
    async def main() -> None:
        async with AsyncDtmClient(silent, timeout_s=100.0) as dtm, trio.open_nursery() as nursery:
            nursery.start_soon(dtm.new_gid)
            await trio.testing.wait_all_tasks_blocked(0.05)
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_closed_client_says_so(silent: str) -> None:
    dtm = DtmClient(silent, timeout_s=0.2)
    with dtm, pytest.raises(ServerUnreachable):
        dtm.new_gid()
    with pytest.raises(ClientError, match="the client is closed"):
        dtm.new_gid()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.ABORTED, ServerRefused),
        (grpc.StatusCode.FAILED_PRECONDITION, ServerOngoing),
        (grpc.StatusCode.INTERNAL, ServerError),
        (grpc.StatusCode.UNIMPLEMENTED, ServerError),
        (grpc.StatusCode.UNAVAILABLE, ServerUnreachable),
    ],
)
def test_a_status_is_told_by_its_name(code: grpc.StatusCode, kind: type[Exception]) -> None:
    def abort(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(code, "why")

    untyped: Any = grpc
    server = grpc.server(futures.ThreadPoolExecutor(1))
    methods = {"NewGid": untyped.unary_unary_rpc_method_handler(abort)}
    server.add_generic_rpc_handlers((untyped.method_handlers_generic_handler("dtmgimp.Dtm", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with DtmClient(f"grpc://127.0.0.1:{port}") as dtm, pytest.raises(kind, match=f"{code.name}: why") as raised:
            dtm.new_gid()
        assert type(raised.value) is kind
    finally:
        server.stop(None).wait(20)
