"""A servicer's methods on real gRPC servers: what a method does, DTM understands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any, cast

import grpc
import grpc.aio
import pytest

from flowtx.client.barrier import Barrier
from flowtx.client.grpc import participant, query_of
from flowtx_dsl.errors import Ongoing, Refused

METADATA = (
    ("dtm-gid", "g-1"),
    ("dtm-trans_type", "saga"),
    ("dtm-branch_id", "01"),
    ("dtm-op", "action"),
    ("dtm-dtm", ""),
)
Ask = Callable[..., tuple[grpc.StatusCode, str]]


def answer(request: bytes, barrier: Barrier) -> bytes:
    match request:
        case b"refuse":
            raise Refused("no money", remedy="work")
        case b"refuse oddly":
            raise Refused("ONGOING")
        case b"wait":
            raise Ongoing("not yet")
        case b"break":
            raise ValueError("x" * 5000)
        case _:
            return f"{barrier.gid} {barrier.branch_id} {barrier.op} {barrier.trans_type} {barrier.table}".encode()


class Servicer:
    @participant(table="my_barrier")
    def plain(self, request: bytes, barrier: Barrier) -> bytes:
        return answer(request, barrier)

    @participant(table="my_barrier")
    async def on_asyncio(self, request: bytes, barrier: Barrier) -> bytes:
        return answer(request, barrier)


def handlers(method: Callable[..., Any]) -> grpc.GenericRpcHandler:
    untyped: Any = grpc
    call = untyped.unary_unary_rpc_method_handler(method)
    return grpc.method_handlers_generic_handler("Bank", {"Withdraw": call})


@contextmanager
def plain_server() -> Generator[Ask]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handlers(Servicer().plain),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = cast("Any", channel).unary_unary("/Bank/Withdraw")

            def ask(request: bytes, metadata: Any = METADATA) -> tuple[grpc.StatusCode, str]:
                try:
                    return grpc.StatusCode.OK, call(request, metadata=metadata, timeout=20).decode()
                except grpc.RpcError as error:
                    failed: Any = error
                    return failed.code(), failed.details()

            yield ask
    finally:
        server.stop(None).wait(20)


@contextmanager
def asyncio_server() -> Generator[Ask]:
    async def main(request: bytes, metadata: Any) -> tuple[grpc.StatusCode, str]:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((handlers(Servicer().on_asyncio),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                call = cast("Any", channel).unary_unary("/Bank/Withdraw")
                try:
                    return grpc.StatusCode.OK, (await call(request, metadata=metadata, timeout=20)).decode()
                except grpc.aio.AioRpcError as error:
                    return error.code(), error.details() or ""
        finally:
            await server.stop(None)

    def ask(request: bytes, metadata: Any = METADATA) -> tuple[grpc.StatusCode, str]:
        return asyncio.run(main(request, metadata))

    yield ask


@pytest.fixture(params=[plain_server, asyncio_server], ids=["threads", "asyncio"])
def ask(request: pytest.FixtureRequest) -> Iterator[Ask]:
    with request.param() as ask:
        yield ask


def test_what_a_method_does_decides_the_status(ask: Ask) -> None:
    assert ask(b"") == (grpc.StatusCode.OK, "g-1 01 action saga my_barrier")
    assert ask(b"refuse") == (grpc.StatusCode.ABORTED, "no money")
    assert ask(b"wait") == (grpc.StatusCode.FAILED_PRECONDITION, "not yet")


def test_a_refusal_is_never_taken_for_ongoing(ask: Ask) -> None:
    assert ask(b"refuse oddly") == (grpc.StatusCode.ABORTED, "refused: ONGOING")


def test_what_breaks_is_no_outcome_and_is_logged(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "flowtx.client"):
        code, details = ask(b"break")
    assert (code, details) == (grpc.StatusCode.INTERNAL, f"ValueError: {'x' * 5000}"[:1000])
    assert [record.exc_info is not None for record in caplog.records if record.name == "flowtx.client"] == [True]


def test_a_call_of_somebody_else_is_told_so(ask: Ask) -> None:
    code, details = ask(b"", metadata=METADATA[1:])
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "gid is missing or empty" in details


def test_the_metadata_reads_as_the_query_of_an_http_call() -> None:
    class Context:
        def invocation_metadata(self) -> Any:
            return (*METADATA, ("user-agent", "go"), ("dtm-phase2_url", "host/Bank/Commit"))

    context: Any = Context()
    assert query_of(context) == {
        "gid": "g-1",
        "trans_type": "saga",
        "branch_id": "01",
        "op": "action",
        "dtm": "",
        "phase2_url": "host/Bank/Commit",
    }
