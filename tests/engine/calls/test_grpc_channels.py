"""The gRPC client against a real server: statuses, metadata, deadlines, cancellation, and what is left behind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import trio

from flowtx_engine.calls.grpc_channels import GrpcChannels, GrpcLimits
from flowtx_engine.calls.grpc_on_demand import GrpcOnDemand
from flowtx_engine.calls.grpc_types import GrpcFault, GrpcRequest, GrpcResponse, ReplyTooLong

Context = grpc.ServicerContext
Heard = tuple[str, dict[str, str | bytes], float]
WITHIN_S = 10.0


@dataclass
class Participant(grpc.GenericRpcHandler):
    """A server that answers what its method asks for: ``/busi.Busi/<STATUS>``, or ``Echo``, ``Wait``, ``Long``."""

    heard: list[Heard] = field(default_factory=list[Heard])
    release: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    port: int = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        path = handler_call_details.method
        name = path.rpartition("/")[2]
        metadata = dict(handler_call_details.invocation_metadata)

        def answer(body: bytes, context: Context) -> bytes:
            self.heard.append((path, metadata, context.time_remaining()))
            if name == "Echo":
                return body[::-1]
            if name == "Long":
                return bytes(100_000)
            if name != "Wait":
                context.abort(grpc.StatusCode[name], "as asked: ü")
            context.add_callback(self.cancelled.set)
            self.entered.release()
            self.release.wait(WITHIN_S)
            return b"at last"

        return None if name == "Nothing" else grpc.unary_unary_rpc_method_handler(answer)

    def request(self, name: str, **given: object) -> GrpcRequest:
        return GrpcRequest(host=f"127.0.0.1:{self.port}", method=f"/busi.Busi/{name}", **given)  # type: ignore[arg-type]  # fields of GrpcRequest


def serve(participant: Participant, port: int = 0) -> grpc.Server:
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((participant,))
    participant.port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server


@pytest.fixture
def busi() -> Iterator[Participant]:
    participant = Participant()
    server = serve(participant)
    yield participant
    participant.release.set()
    server.stop(grace=0).wait(WITHIN_S)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(WITHIN_S):
        while True:
            if condition():
                return
            await trio.sleep(0.01)


def channel_threads() -> list[threading.Thread]:
    """The threads that grpcio runs for calls under way; a server of the same process has its own."""
    return [it for it in threading.enumerate() if it.name.startswith("Thread-") and "(_run)" in it.name]


# -- what comes back


@pytest.mark.parametrize("status", [it for it in grpc.StatusCode if it is not grpc.StatusCode.OK])
async def test_every_status_arrives_by_its_name_with_its_text(busi: Participant, status: grpc.StatusCode) -> None:
    channels = GrpcChannels()
    response = await channels.call(busi.request(status.name), timeout_s=WITHIN_S)
    assert response == GrpcResponse(status=status.name, details="as asked: ü")
    await channels.aclose()


async def test_the_message_travels_both_ways_as_it_is(busi: Participant) -> None:
    channels = GrpcChannels()
    body = bytes(range(256)) * 1000
    assert await channels.call(busi.request("Echo", body=body), timeout_s=WITHIN_S) == GrpcResponse(
        status="OK", body=body[::-1]
    )
    assert (await channels.call(busi.request("Echo"), timeout_s=WITHIN_S)).body == b""
    await channels.aclose()


async def test_metadata_and_the_deadline_arrive(busi: Participant) -> None:
    channels = GrpcChannels()
    metadata = (("dtm-gid", "g 1"), ("dtm-dtm", ""), ("raw-bin", b"\x00\xff"))
    await channels.call(busi.request("Echo", metadata=metadata), timeout_s=7)
    ((method, heard, left_s),) = busi.heard
    assert method == "/busi.Busi/Echo"
    assert dict(metadata).items() <= heard.items()
    assert 5 < left_s < 8
    await channels.aclose()


async def test_an_unknown_method_is_a_status_and_a_reply_too_long_a_fault(busi: Participant) -> None:
    channels = GrpcChannels(limits=GrpcLimits(reply_max=10_000))
    assert (await channels.call(busi.request("Nothing"), timeout_s=WITHIN_S)).status == "UNIMPLEMENTED"
    with pytest.raises(ReplyTooLong, match=r"the reply of 127\.0\.0\.1:\d+/busi.Busi/Long is longer than 10000 bytes"):
        await channels.call(busi.request("Long"), timeout_s=WITHIN_S)
    assert (await channels.call(busi.request("Echo"), timeout_s=WITHIN_S)).status == "OK"
    await channels.aclose()


async def test_the_deadline_ends_a_call(busi: Participant) -> None:
    channels = GrpcChannels()
    assert (await channels.call(busi.request("Wait"), timeout_s=0.1)).status == "DEADLINE_EXCEEDED"
    await channels.aclose()


async def test_nobody_there_is_said_at_once_and_whoever_comes_back_is_found_soon(busi: Participant) -> None:
    free = Participant()
    serve(free).stop(grace=0).wait(WITHIN_S)
    channels = GrpcChannels()
    for _ in range(3):
        response = await channels.call(free.request("Echo"), timeout_s=WITHIN_S)
        assert response.status == "UNAVAILABLE"
        assert "Connection refused" in response.details
    server = serve(free, free.port)
    statuses: list[str] = []

    async def ask() -> None:
        while "OK" not in statuses:
            statuses.append((await channels.call(free.request("Echo"), timeout_s=WITHIN_S)).status)
            await trio.sleep(0.05)

    with trio.fail_after(GrpcLimits().reconnect_max_s + 3):
        await ask()
    await channels.aclose()
    server.stop(grace=0).wait(WITHIN_S)


async def test_metadata_that_cannot_be_sent_is_no_crash(busi: Participant) -> None:
    channels = GrpcChannels()
    response = await channels.call(busi.request("Echo", metadata=(("a b", "c"),)), timeout_s=WITHIN_S)
    assert (response.status, busi.heard) == ("INTERNAL", [])
    await channels.aclose()


# -- cancellation, limits, and what is left behind


async def test_a_cancelled_call_is_cancelled_at_the_participant(busi: Participant) -> None:
    channels = GrpcChannels()
    with trio.move_on_after(WITHIN_S) as scope:
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                await channels.call(busi.request("Wait"), timeout_s=60)

            nursery.start_soon(call)
            await until(lambda: busi.entered.acquire(blocking=False))
            nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught
    await until(busi.cancelled.is_set)
    await channels.aclose()


async def test_calls_at_once_share_one_channel(busi: Participant) -> None:
    channels = GrpcChannels()
    responses: list[GrpcResponse] = []

    async def call() -> None:
        responses.append(await channels.call(busi.request("Echo", body=b"ab"), timeout_s=WITHIN_S))

    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(call)
    assert responses == [GrpcResponse(status="OK", body=b"ba")] * 200
    assert repr(channels) == f"<GrpcChannels to 127.0.0.1:{busi.port}>"
    await channels.aclose()


async def test_beyond_the_limit_the_channel_unused_for_longest_makes_room(busi: Participant) -> None:
    hosts = [f"{name}:{busi.port}" for name in ("127.0.0.1", "localhost", "127.0.0.2")]
    channels = GrpcChannels(limits=GrpcLimits(channels_max=2))
    for host in (hosts[0], hosts[1], hosts[0], hosts[2]):
        await channels.call(GrpcRequest(host=host, method="/busi.Busi/Echo"), timeout_s=WITHIN_S)
    assert repr(channels) == f"<GrpcChannels to {hosts[0]}, {hosts[2]}>"
    await channels.aclose()


async def test_when_every_channel_is_in_use_the_next_host_waits_its_turn(busi: Participant) -> None:
    channels = GrpcChannels(limits=GrpcLimits(channels_max=1))
    order: list[str] = []

    async def call(host: str, name: str) -> None:
        request = GrpcRequest(host=f"{host}:{busi.port}", method=f"/busi.Busi/{name}")
        await channels.call(request, timeout_s=WITHIN_S)
        order.append(f"{host} {name}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, "127.0.0.1", "Wait")
        await until(lambda: busi.entered.acquire(blocking=False))
        nursery.start_soon(call, "127.0.0.2", "Echo")
        with trio.move_on_after(0.1):  # who goes away while it waits leaves the line
            await call("127.0.0.3", "Echo")
        await call("127.0.0.1", "Echo")
        busi.release.set()
    assert order == ["127.0.0.1 Echo", "127.0.0.1 Wait", "127.0.0.2 Echo"]
    await channels.aclose()


async def test_after_the_end_nothing_is_called_and_who_waits_is_told(busi: Participant) -> None:
    channels = GrpcChannels(limits=GrpcLimits(channels_max=1))
    ends: list[str] = []

    async def call(host: str) -> None:
        try:
            request = GrpcRequest(host=f"{host}:{busi.port}", method="/busi.Busi/Wait")
            ends.append((await channels.call(request, timeout_s=WITHIN_S)).status)
        except GrpcFault as fault:
            ends.append(str(fault))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, "127.0.0.1")
        await until(lambda: busi.entered.acquire(blocking=False))
        nursery.start_soon(call, "127.0.0.2")
        await trio.testing.wait_all_tasks_blocked()
        await channels.aclose()
    assert sorted(ends) == [f"127.0.0.2:{busi.port} was not called, because the engine is shutting down", "CANCELLED"]


async def test_a_channel_at_rest_has_no_thread_and_drops_its_connection(busi: Participant) -> None:
    channels = GrpcChannels(limits=GrpcLimits(idle_s=1.0))
    await channels.call(busi.request("Echo"), timeout_s=WITHIN_S)
    await until(lambda: not channel_threads())
    assert connections_to(busi.port) == 1
    await until(lambda: connections_to(busi.port) == 0)
    assert (await channels.call(busi.request("Echo"), timeout_s=WITHIN_S)).status == "OK"
    await channels.aclose()
    await until(lambda: connections_to(busi.port) == 0)


def connections_to(port: int) -> int:
    """Established connections to a port of this machine, seen from the calling side."""
    rows = [
        line.split()
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]
    ]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


async def test_on_demand_is_the_same_and_closes_what_it_opened(busi: Participant) -> None:
    async with GrpcOnDemand() as on_demand:
        pass
    async with GrpcOnDemand() as on_demand:
        response = await on_demand.call(busi.request("Echo", body=b"ab"), timeout_s=WITHIN_S)
        assert response == GrpcResponse(status="OK", body=b"ba")
    with pytest.raises(GrpcFault, match="shutting down"):
        await on_demand.call(busi.request("Echo"), timeout_s=WITHIN_S)


PROGRAM = """
import sys, trio
from flowtx_engine.calls.grpc_channels import GrpcChannels
from flowtx_engine.calls.grpc_types import GrpcRequest

async def main() -> None:
    channels = GrpcChannels()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(call, channels)
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()

async def call(channels: GrpcChannels) -> None:
    await channels.call(GrpcRequest(host=sys.argv[1], method="/busi.Busi/Wait"), timeout_s=600)

trio.run(main)
print("ended")
"""


WITHOUT_GRPC = """
import sys, trio, flowtx

@flowtx.workflow
async def pay(tx: flowtx.Tx) -> None:
    flowtx.grpc("hotel:50051/hotel.Hotel/Book")
    await tx.step(flowtx.http("http://127.0.0.1:9/"), retry=flowtx.Retry(attempts_max=1))

async def main() -> None:
    async with flowtx.open("memory://") as engine:
        try:
            await engine.run(pay)
        except flowtx.TransactionFailed as failed:
            loaded = [it for it in sys.modules if it.partition(".")[0] in ("grpc", "google")]
            print(type(failed.__cause__).__name__, loaded)

trio.run(main)
"""


def test_a_run_that_calls_nobody_over_grpc_does_not_load_the_library(root_path: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_GRPC],
        env={"PYTHONPATH": root_path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "StepFault []\n", done.stderr


def test_no_thread_keeps_the_process_alive_though_its_calls_were_given_up(busi: Participant, root_path: str) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"127.0.0.1:{busi.port}"],
        env={"PYTHONPATH": root_path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr
    assert time.monotonic() - began < 30


@pytest.fixture
def root_path() -> str:
    root = Path(__file__).parents[3]
    return f"{root}:{root / 'dsl'}:{root / 'engine'}"
