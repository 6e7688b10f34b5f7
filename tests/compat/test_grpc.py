"""The gRPC API and gRPC participants, seen from outside (spec 2.7, 3.4, checks 159 to 173)."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import trio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from flowtx.server import serve
from flowtx.settings import Settings
from tests.compat.dtm import Dtm
from tests.compat.grpc_side import OK, Ended, GrpcDtm, GrpcParticipant, messages, until
from tests.compat.orders import new_gid
from tests.compat.web import Participant, Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """One server: its gRPC side and, to look at what it stored, its HTTP side; ``stop`` ends it."""

    grpc: GrpcDtm
    http: Dtm
    stop: trio.Event


@pytest.fixture
async def both(nursery: trio.Nursery, tmp_path: Path) -> AsyncGenerator[Both]:
    addresses: list[str] = []
    stop = trio.Event()
    settings = Settings(
        db=f"sqlite:///{tmp_path}/flowtx.db",
        bind="127.0.0.1:0",
        grpc_bind="127.0.0.1:0",
        grace_s=20.0,
        body_max_bytes=1_000_000,
    )
    url: str = await nursery.start(partial(serve, settings, shutdown=stop.wait, grpc_started=addresses.append))
    yield Both(grpc=GrpcDtm(addresses[0]), http=Dtm(url=url), stop=stop)
    stop.set()


def saga(steps: list[tuple[str, str]], **more: Any) -> Any:
    """A saga of these actions and compensations, with a payload of raw bytes each, that is waited for."""
    options = {"WaitResult": True, "RetryInterval": 1, **more.pop("options", {})}
    fields = {
        "Gid": new_gid(),
        "TransType": "saga",
        "Steps": json.dumps([{"action": action, "compensate": compensate} for action, compensate in steps]),
        "BinPayloads": [b"\x00%d" % i for i in range(len(steps))],
        "TransOptions": options,
    }
    return messages.DtmRequest(**fields | more)


def pair(grpc_participant: GrpcParticipant, name: str) -> tuple[str, str]:
    return grpc_participant.url(name), grpc_participant.url(f"{name}Revert")


# -- the API


async def test_check_159_new_gid_gives_a_gid(both: Both) -> None:
    ended = await both.grpc.call("NewGid")
    assert ended.code == "OK"
    assert len(messages.DtmGidReply.FromString(ended.reply).Gid) >= 13
    assert await both.grpc.call("NewGid") != ended


async def test_check_160_a_saga_runs_as_over_http(both: Both, grpc_participant: GrpcParticipant) -> None:
    order = saga([pair(grpc_participant, "Out"), pair(grpc_participant, "In")])
    assert await both.grpc.call("Submit", order) == OK
    assert grpc_participant.paths == ["Out", "In"]
    assert [heard.body for heard in grpc_participant.heard] == [b"\x000", b"\x001"]
    assert await both.http.rows(order.Gid) == "P S P S"
    transaction = await both.http.transaction(order.Gid)
    assert (transaction["status"], transaction["protocol"]) == ("succeed", "grpc")


async def test_check_165_a_refused_saga_is_aborted_with_the_reason(
    both: Both, grpc_participant: GrpcParticipant
) -> None:
    grpc_participant.replies("In", Ended(code="ABORTED", details="no money"))
    order = saga([pair(grpc_participant, "Out"), pair(grpc_participant, "In")])
    ended = await both.grpc.call("Submit", order)
    assert ended == Ended(code="ABORTED", details=f"url:{grpc_participant.url('In')} return failed: no money FAILURE")
    await both.http.until(order.Gid, "failed")
    assert grpc_participant.paths == ["Out", "In", "InRevert", "OutRevert"]
    assert await both.http.rows(order.Gid) == "S S S F"


async def test_check_161_an_unknown_type_is_internal_and_the_server_stays_up(both: Both) -> None:
    for kind in ("", "what"):
        ended = await both.grpc.call("Submit", messages.DtmRequest(Gid="grpc-1", TransType=kind))
        assert ended.code == "INTERNAL"
        assert f"unknown trans_type '{kind}'" in ended.details
    assert (await both.grpc.call("NewGid")).code == "OK"
    assert not await both.http.is_stored("grpc-1")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"Gid": ""}, "the gid is empty"),
        ({"Steps": "{"}, "field Steps: its text is not JSON"),
        ({"Steps": '[{"action":1}]'}, "field Steps[0].action: expected a string"),
        ({"Steps": '[{"action":"a:1/S/M"}]', "BinPayloads": []}, "1 steps and 0 payloads"),
    ],
)
async def test_what_crashes_dtm_is_internal_with_a_reason_and_not_stored(
    both: Both, fields: dict[str, Any], text: str
) -> None:
    ended = await both.grpc.call("Submit", saga([], **{"Gid": "grpc-2", **fields}))
    assert ended.code == "INTERNAL"
    assert text in ended.details
    assert not await both.http.is_stored("grpc-2")


async def test_check_163_a_finished_transaction_is_not_submitted_again(both: Both) -> None:
    order = saga([])
    assert (await both.grpc.call("Submit", order)).code == "OK"
    ended = await both.grpc.call("Submit", order)
    assert ended == Ended(code="ABORTED", details="current status 'succeed', cannot sumbmit. FAILURE")


async def test_check_170_an_empty_target_is_done_without_a_call(both: Both) -> None:
    order = saga([("", "")])
    assert (await both.grpc.call("Submit", order)).code == "OK"
    assert await both.http.rows(order.Gid) == "P S"


async def test_check_171_concurrent_and_orders_are_honoured(both: Both, grpc_participant: GrpcParticipant) -> None:
    custom = json.dumps({"concurrent": True, "orders": {"0": [1]}})
    order = saga([pair(grpc_participant, "Out"), pair(grpc_participant, "In")], CustomedData=custom)
    assert (await both.grpc.call("Submit", order)).code == "OK"
    assert grpc_participant.paths == ["In", "Out"]


async def test_a_gid_is_not_stripped(both: Both) -> None:
    gid = f"{new_gid()};a"
    assert (await both.grpc.call("Submit", saga([], Gid=gid))).code == "OK"
    assert (await both.http.transaction(gid))["gid"] == gid


# check 49
async def test_topics_are_those_of_http(both: Both) -> None:
    topic = messages.DtmTopicRequest(Topic="t", URL="http://a", Remark="r")
    assert await both.grpc.call("Subscribe", topic) == OK
    assert await both.grpc.call("Subscribe", topic) == Ended(code="UNKNOWN", details="this url exists")
    kept = (await both.http.get("queryKV?cat=topics&key=t")).json["kv"][0]["v"]
    assert json.loads(kept) == [{"url": "http://a", "remark": "r"}]
    assert await both.grpc.call("Unsubscribe", topic) == OK
    assert await both.grpc.call("DeleteTopic", topic) == OK
    assert (await both.grpc.call("Unsubscribe", topic)).details == "no such a topic"


async def test_a_transaction_over_grpc_may_call_http(
    both: Both, grpc_participant: GrpcParticipant, participant: Participant
) -> None:
    participant.replies("/b", Reply(status=409, body=b"no"))
    order = saga([pair(grpc_participant, "Out"), (f"{participant.url}/b", f"{participant.url}/b-undo")])
    assert (await both.grpc.call("Submit", order)).code == "ABORTED"
    await both.http.until(order.Gid, "failed")
    assert participant.paths == ["/b", "/b-undo"]
    assert participant.calls[0].body == b"\x001"
    assert grpc_participant.paths == ["Out", "OutRevert"]


# -- participants


@pytest.mark.parametrize(
    ("answer", "calls", "status"),
    [
        (Ended(code="ABORTED", details="no"), ["In", "InRevert"], "failed"),
        (Ended(code="ABORTED", details="ONGOING"), ["In", "In"], "succeed"),
        (Ended(code="FAILED_PRECONDITION"), ["In", "In"], "succeed"),
        (Ended(code="INTERNAL", details="FAILURE"), ["In", "In"], "succeed"),
        (Ended(code="UNAVAILABLE"), ["In", "In"], "succeed"),
        (Ended(code="UNIMPLEMENTED"), ["In", "In"], "succeed"),
    ],
)
async def test_check_166_what_a_participants_status_leads_to(
    both: Both, grpc_participant: GrpcParticipant, answer: Ended, calls: list[str], status: str
) -> None:
    grpc_participant.replies("In", answer, OK)
    order = saga([pair(grpc_participant, "In")], options={"WaitResult": False})
    assert (await both.grpc.call("Submit", order)).code == "OK"
    await both.http.until(order.Gid, status)
    assert grpc_participant.paths == calls


async def test_check_167_headers_and_facts_arrive_at_submit_and_when_repeated(
    both: Both, grpc_participant: GrpcParticipant
) -> None:
    grpc_participant.replies("In", Ended(code="FAILED_PRECONDITION"), OK)
    options = {"WaitResult": False, "BranchHeaders": {"test_header": "test"}}
    order = saga([pair(grpc_participant, "In")], options=options)
    await both.grpc.call("Submit", order)
    await grpc_participant.until_heard(2)
    expected = {
        "dtm-gid": order.Gid,
        "dtm-trans_type": "saga",
        "dtm-branch_id": "01",
        "dtm-op": "action",
        "dtm-dtm": "",
        "test_header": "test",
    }
    for heard in grpc_participant.heard:
        assert expected.items() <= heard.metadata.items()
    assert (
        grpc_participant.heard[0].metadata["idempotency-key"] == grpc_participant.heard[1].metadata["idempotency-key"]
    )


@pytest.mark.parametrize(("request_timeout", "low_s", "high_s"), [(7, 3.5, 8), (0, 0, 3.5)])
async def test_check_168_the_participants_deadline_is_the_request_timeout(
    both: Both, grpc_participant: GrpcParticipant, request_timeout: int, low_s: float, high_s: float
) -> None:
    await both.grpc.call("Submit", saga([pair(grpc_participant, "In")], options={"RequestTimeout": request_timeout}))
    assert low_s < grpc_participant.heard[0].left_s < high_s


@pytest.mark.parametrize("url", ["127.0.0.1:1", "etcd://busi/busi.Busi/In", "127.0.0.1:1/busi.Busi/In"])
async def test_check_169_a_target_that_cannot_be_called_is_retried(both: Both, url: str) -> None:
    order = saga([(url, "")], options={"WaitResult": False})
    assert (await both.grpc.call("Submit", order)).code == "OK"
    with trio.fail_after(20):
        while (transaction := await both.http.transaction(order.Gid))["next_cron_interval"] < 2:  # noqa: ASYNC110 - seen through a socket
            await trio.sleep(0.05)
    assert transaction["status"] == "submitted"


# -- the server


async def test_check_173_the_server_reflects_its_services(both: Both) -> None:
    def look() -> tuple[set[str], list[str]]:
        with grpc.insecure_channel(both.grpc.address) as channel:
            reflected = ProtoReflectionDescriptorDatabase(channel)
            file = reflected.FindFileContainingSymbol("dtmgimp.Dtm")
            return set(reflected.get_services()), [method.name for method in file.service[0].method]

    services, methods = await trio.to_thread.run_sync(look)
    assert services == {"dtmgimp.Dtm", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert {"NewGid", "Submit", "Prepare", "Abort", "RegisterBranch", "PrepareWorkflow"} <= set(methods)


@pytest.mark.parametrize("service", ["", "dtmgimp.Dtm"])
async def test_the_health_service_says_serving(both: Both, service: str) -> None:
    asked = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    ended = await both.grpc.call_path("/grpc.health.v1.Health/Check", asked)
    assert health_pb2.HealthCheckResponse.FromString(ended.reply).status == health_pb2.HealthCheckResponse.SERVING


async def test_a_message_that_is_too_long_is_refused_and_the_next_is_not(both: Both) -> None:
    long = await both.grpc.call("Submit", saga([], BinPayloads=[bytes(1_000_001)]))
    assert long.code == "RESOURCE_EXHAUSTED"
    assert (await both.grpc.call("Submit", saga([], BinPayloads=[bytes(900_000)]))).code == "OK"


async def test_other_methods_and_services_are_unimplemented(both: Both) -> None:
    for path in ("/dtmgimp.Dtm/Query", "/dtmgimp.Dtm/", "/Dtm/NewGid", "/x/y", "/dtmgimp.Dtm2/NewGid"):
        assert (await both.grpc.call_path(path, b"")).code == "UNIMPLEMENTED", path


async def test_many_calls_at_once_are_all_answered(both: Both) -> None:
    codes: list[str] = []

    async def submit() -> None:
        codes.append((await both.grpc.call("Submit", saga([]))).code)

    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(submit)
    assert codes == ["OK"] * 40


async def test_a_call_under_way_is_answered_when_the_server_is_stopped_and_no_thread_is_left(
    both: Both, grpc_participant: GrpcParticipant
) -> None:
    ended: list[Ended] = []

    async def submit() -> None:
        ended.append(await both.grpc.call("Submit", saga([pair(grpc_participant, "Slow")])))

    release = threading.Event()
    grpc_participant.holds["/busi.Busi/Slow"] = release
    async with trio.open_nursery() as nursery:
        nursery.start_soon(submit)
        await grpc_participant.until_heard(1)
        both.stop.set()
        await trio.sleep(0.2)
        release.set()
    assert ended == [OK]
    await until(lambda: not [it for it in threading.enumerate() if it.name.startswith("flowtx-grpc")])
    assert (await both.grpc.call("NewGid")).code == "UNAVAILABLE"


async def test_streams_that_never_end_do_not_hold_the_server_up(both: Both) -> None:
    over, ended = threading.Event(), threading.Semaphore(0)

    def ask_and_stay(first: bytes) -> Iterator[bytes]:
        yield first
        over.wait()

    def hold(path: str, first: bytes, heard: threading.Event) -> None:
        with grpc.insecure_channel(both.grpc.address) as channel:
            stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
            try:
                for _ in stream(ask_and_stay(first), timeout=60):
                    heard.set()
            except grpc.RpcError:
                ended.release()

    for path, first in (
        ("/grpc.health.v1.Health/Watch", b""),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", b"\x3a\x00"),  # field 7: list services
    ):
        heard = threading.Event()
        threading.Thread(target=hold, args=(path, first, heard), daemon=True).start()
        await until(heard.is_set)
    with trio.fail_after(15):  # less than the grace period
        both.stop.set()
        for _ in range(2):
            await until(lambda: ended.acquire(blocking=False))
    over.set()
