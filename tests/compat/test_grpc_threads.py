"""Callers of the gRPC API that go away, or say nothing, take no thread from the others."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest
import trio

from flowtx.dtm import grpc_server
from flowtx.server import serve
from flowtx.settings import Settings
from tests.compat.grpc_side import GrpcDtm, GrpcParticipant, messages, until
from tests.compat.orders import new_gid

SOON_S = 10.0
"""Far less than the minute that a result is waited for."""


@pytest.fixture
async def address(nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[str]:
    """Where a server with two threads listens."""
    monkeypatch.setattr(grpc_server, "THREADS_MAX", 2)
    addresses: list[str] = []
    stop = trio.Event()
    settings = Settings(db=f"sqlite:///{tmp_path}/flowtx.db", bind="127.0.0.1:0", grpc_bind="127.0.0.1:0", grace_s=1.0)
    await nursery.start(partial(serve, settings, shutdown=stop.wait, grpc_started=addresses.append))
    yield addresses[0]
    stop.set()


async def answered_soon(address: str) -> None:
    began_at = trio.current_time()
    assert (await GrpcDtm(address).call("NewGid")).code == "OK"
    assert trio.current_time() - began_at < SOON_S


async def test_a_caller_that_goes_away_gives_its_thread_back_and_its_transaction_goes_on(
    address: str, grpc_participant: GrpcParticipant
) -> None:
    release = threading.Event()
    grpc_participant.holds["/busi.Busi/Slow"] = release
    orders = [
        messages.DtmRequest(
            Gid=new_gid(),
            TransType="msg",
            Steps=json.dumps([{"action": grpc_participant.url("Slow")}]),
            BinPayloads=[b"1"],
            TransOptions=messages.DtmTransOptions(WaitResult=True, RequestTimeout=60),
        )
        for _ in range(2)
    ]
    with grpc.insecure_channel(address) as channel:
        submit: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/dtmgimp.Dtm/Submit")
        calls = [submit.future(order.SerializeToString(), timeout=60) for order in orders]
        await grpc_participant.until_heard(len(orders))
        for call in calls:
            call.cancel()
    await answered_soon(address)
    release.set()
    for order in orders:
        order.TransOptions.RequestTimeout = 0
        with trio.fail_after(SOON_S):
            while (await GrpcDtm(address).call("Submit", order)).code != "ABORTED":  # noqa: ASYNC110 - in other threads
                await trio.sleep(0.05)  # "aborted" says: it has succeeded, and cannot be submitted any more


async def test_streams_of_reflection_that_say_nothing_leave_the_threads_to_others(address: str) -> None:
    over = threading.Event()
    begun = threading.Semaphore(0)

    def say_nothing() -> Iterator[bytes]:
        begun.release()
        over.wait()
        yield from ()

    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    with grpc.insecure_channel(address) as channel:
        stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
        held = [stream(say_nothing(), timeout=60) for _ in range(8)]
        for _ in held:
            await until(lambda: begun.acquire(blocking=False))
        await answered_soon(address)
        over.set()
        for each in held:
            each.cancel()
