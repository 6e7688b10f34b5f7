"""DTM's gRPC API over a real engine: what messages become, and by which status calls end."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from flowtx.dtm.grpc_api import DETAILS_MAX, METHODS, Status, answer, spell
from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.outcomes import Done, DtmError, DtmFailure, DtmOngoing, Outcome
from flowtx.dtm.wire.grpc_requests import parse_branch_request, parse_message
from flowtx.dtm.wire.requests import BranchRequest
from flowtx.protobuf import METHODS as SPECIFIED
from flowtx.protobuf import make_message
from flowtx.testing.participants import Participants

OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]

OK = Status(code="OK")


async def call(desk: Desk, method: str, message: str = "DtmRequest", **fields: Any) -> Status:
    return await answer(METHODS[method], desk, make_message(message, **fields).SerializeToString())


def order(trans_type: str, **more: Any) -> dict[str, Any]:
    return {"Gid": "g", "TransType": trans_type, **more}


WAIT = {"WaitResult": True}


def test_every_method_of_the_service_is_served() -> None:
    assert METHODS.keys() == SPECIFIED.keys()


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Done(), OK),
        (Done(b"reply"), Status(code="OK", reply=b"reply")),
        (Done({"dtm_result": "SUCCESS"}), OK),
        (DtmFailure("no"), Status(code="ABORTED", details="no FAILURE")),
        (DtmFailure("no FAILURE"), Status(code="ABORTED", details="no FAILURE")),
        (DtmOngoing("ONGOING"), Status(code="FAILED_PRECONDITION", details="ONGOING")),
        (DtmError("broken"), Status(code="UNKNOWN", details="broken")),
        (DtmError("broken", kind="crash"), Status(code="INTERNAL", details="broken")),
        (DtmError("full", kind="overloaded"), Status(code="UNAVAILABLE", details="full")),
        (DtmError("h:1/S/M ended in NOT_FOUND: y"), Status(code="NOT_FOUND", details="h:1/S/M ended in NOT_FOUND: y")),
        (DtmError("h:1/S/M ended in TEARS: y"), Status(code="UNKNOWN", details="h:1/S/M ended in TEARS: y")),
        (DtmError("it ended in NOT_FOUND: y"), Status(code="UNKNOWN", details="it ended in NOT_FOUND: y")),
    ],
)
def test_an_outcome_is_spelled_as_dtm_does(outcome: Outcome, status: Status) -> None:
    assert spell(outcome) == status


def test_a_text_that_no_header_could_hold_is_cut() -> None:
    for outcome in (DtmFailure("ü" * 100_000), DtmError("ü" * 100_000), DtmOngoing("ü" * 100_000)):
        assert len(spell(outcome).details) < DETAILS_MAX + 100
        assert "(100000 characters in all)" in spell(outcome).details


def test_a_branch_request_takes_everything_from_data_and_its_op_is_ignored() -> None:
    message = make_message(
        "DtmBranchRequest",
        Gid="g;",
        TransType="tcc",
        BranchID="01",
        Op="ignored",
        Data={"confirm": "c", "cancel": "d", "url": "u", "op": "o", "status": "s", "sync": "1", "gid": "other"},
        BusiPayload=b"\x00\xff",
    )
    assert parse_branch_request(message.SerializeToString()) == BranchRequest(
        gid="g;",
        branch_id="01",
        trans_type="tcc",
        data=b"\x00\xff",
        confirm="c",
        cancel="d",
        url="u",
        op="o",
        status="s",
    )


# -- the patterns


async def test_checks_160_and_172_a_tcc_confirms_over_grpc_in_reverse(
    open_desk: OpenDesk, autojump_clock: MockClock
) -> None:
    participants = Participants()
    async with open_desk(participants) as desk:
        assert await call(desk, "Prepare", **order("tcc")) == OK
        for branch in ("01", "02"):
            data = {"confirm": f"p:1/B/Confirm{branch}", "cancel": f"p:1/B/Cancel{branch}"}
            fields = {"BranchID": branch, "Op": "try", "Data": data, "BusiPayload": b"pay " + branch.encode()}
            assert await call(desk, "RegisterBranch", "DtmBranchRequest", **order("tcc"), **fields) == OK
        assert await call(desk, "Submit", **order("tcc"), TransOptions=WAIT) == OK
    assert [(it.url, it.op, it.branch_id, it.body) for it in participants.asked] == [
        ("p:1/B/Confirm02", "confirm", "02", b"pay 02"),
        ("p:1/B/Confirm01", "confirm", "01", b"pay 01"),
    ]


async def test_check_164_a_confirmation_that_is_not_finished_is_a_failed_precondition(
    open_desk: OpenDesk, autojump_clock: MockClock
) -> None:
    participants = Participants()
    participants.script("/B/Confirm", ["ongoing"])
    async with open_desk(participants) as desk:
        await call(desk, "Prepare", **order("tcc"))
        data = {"confirm": "p:1/B/Confirm", "cancel": "p:1/B/Cancel"}
        await call(desk, "RegisterBranch", "DtmBranchRequest", **order("tcc"), BranchID="01", Data=data)
        ended = await call(desk, "Submit", **order("tcc"), TransOptions=WAIT)
        assert ended == Status(code="FAILED_PRECONDITION", details="ONGOING")


async def test_an_aborted_tcc_cancels_over_grpc(open_desk: OpenDesk, autojump_clock: MockClock) -> None:
    participants = Participants()
    async with open_desk(participants) as desk:
        await call(desk, "Prepare", **order("tcc"), TransOptions=WAIT)
        data = {"confirm": "p:1/B/Confirm", "cancel": "p:1/B/Cancel"}
        await call(desk, "RegisterBranch", "DtmBranchRequest", **order("tcc"), BranchID="01", Data=data)
        assert await call(desk, "Abort", **order("tcc", RollbackReason="because")) == OK
        ended = await call(desk, "Prepare", **order("tcc"))
        assert ended == Status(code="ABORTED", details="current status 'failed', cannot prepare. FAILURE")
        row = await desk.engine.transaction("g")
        assert row is not None
        assert row.reason == "because"
    assert [it.op for it in participants.asked] == ["cancel"]


async def test_an_xa_commits_over_grpc(open_desk: OpenDesk, autojump_clock: MockClock) -> None:
    participants = Participants()
    async with open_desk(participants) as desk:
        await call(desk, "Prepare", **order("xa"))
        for branch in ("01", "02"):
            data = {"url": f"p:1/B/Xa{branch}"}
            await call(desk, "RegisterBranch", "DtmBranchRequest", **order("xa"), BranchID=branch, Data=data)
        assert await call(desk, "Submit", **order("xa"), TransOptions=WAIT) == OK
    assert [(it.url, it.op) for it in participants.asked] == [("p:1/B/Xa01", "commit"), ("p:1/B/Xa02", "commit")]


async def test_a_message_is_delivered_over_grpc_and_asked_about_when_forgotten(
    open_desk: OpenDesk, autojump_clock: MockClock
) -> None:
    participants = Participants()
    steps = json.dumps([{"action": "p:1/B/In"}])
    message = order("msg", Steps=steps, BinPayloads=[b"\x00"], QueryPrepared="p:1/B/Query")
    async with open_desk(participants) as desk:
        assert await call(desk, "Prepare", **message) == OK
        await trio.sleep(60)
    assert [(it.url, it.op, it.branch_id, it.body) for it in participants.asked] == [
        ("p:1/B/Query", "msg", "00", b""),
        ("p:1/B/In", "action", "01", b"\x00"),
    ]


async def test_a_messages_participant_status_is_what_the_caller_sees(
    open_desk: OpenDesk, autojump_clock: MockClock
) -> None:
    participants = Participants()
    participants.script("/B/In", ["accept silently"])
    message = order("msg", Steps=json.dumps([{"action": "p:1/B/In"}]), BinPayloads=[b""])
    async with open_desk(participants) as desk:
        ended = await call(desk, "Submit", **message, TransOptions=WAIT)
    assert ended.code == "UNAVAILABLE"
    assert ended.details.startswith("your http/grpc result should be specified as in:")
    assert "p:1/B/In ended in UNAVAILABLE: " in ended.details


async def test_check_162_nobodys_gid_is_internal_for_abort_and_aborted_for_a_branch(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        ended = await call(desk, "Abort", **order("tcc"))
        assert ended == Status(code="INTERNAL", details="no TransGlobal with gid: g found")
        ended = await call(desk, "RegisterBranch", "DtmBranchRequest", **order("tcc"), BranchID="01")
        assert ended == Status(code="ABORTED", details="no trans with gid: g status: prepared found FAILURE")
        ended = await call(desk, "RegisterBranch", "DtmBranchRequest", **order("what"), BranchID="01")
        assert ended == Status(code="UNKNOWN", details="unknow trans type: what")


# -- workflows


async def test_checks_152_and_158_a_workflow_is_called_back_and_its_result_given(
    open_desk: OpenDesk, autojump_clock: MockClock
) -> None:
    participants = Participants()
    custom = json.dumps({"name": "wf", "data": "aGVsbG8="})
    workflow = order("workflow", QueryPrepared="p:1/workflow.Workflow/Execute", CustomedData=custom)
    async with open_desk(participants) as desk:
        first = await call(desk, "PrepareWorkflow", **workflow)
        found = parse_message("DtmProgressesReply", first.reply)
        assert (found.Transaction.Gid, found.Transaction.Status, len(found.Progresses)) == ("g", "prepared", 0)
        fields = {"BranchID": "01", "Data": {"op": "action", "status": "succeed"}, "BusiPayload": b"\x00"}
        assert await call(desk, "RegisterBranch", "DtmBranchRequest", **order("workflow"), **fields) == OK
        await trio.sleep(60)
        assert {(it.url, it.op, it.branch_id, it.body) for it in participants.asked} == {
            ("p:1/workflow.Workflow/Execute", "wf", "00", b"\x0a\x05hello")
        }
        second = await call(desk, "PrepareWorkflow", **workflow)
        (progress,) = parse_message("DtmProgressesReply", second.reply).Progresses
        assert (progress.BranchID, progress.Op, progress.Status, progress.BinData) == (
            "01",
            "action",
            "succeed",
            b"\x00",
        )
        assert await call(desk, "Submit", **workflow, ReqExtra={"status": "succeed", "result": "cmVzdWx0"}) == OK
        third = parse_message("DtmProgressesReply", (await call(desk, "PrepareWorkflow", **workflow)).reply)
        assert (third.Transaction.Status, third.Transaction.Result) == ("succeed", "cmVzdWx0")
        ended = await call(desk, "Submit", **workflow, ReqExtra={"status": "succeed"})
        assert ended == Status(code="INTERNAL", details="storage: NotFound")


async def test_a_failed_workflow_gives_its_reason(open_desk: OpenDesk, autojump_clock: MockClock) -> None:
    workflow = order("workflow", CustomedData=json.dumps({"name": "wf"}))
    async with open_desk() as desk:
        await call(desk, "PrepareWorkflow", **workflow)
        extra = {"status": "failed", "rollback_reason": "because"}
        assert await call(desk, "Submit", **workflow, ReqExtra=extra) == OK
        found = parse_message("DtmProgressesReply", (await call(desk, "PrepareWorkflow", **workflow)).reply)
        assert (found.Transaction.Status, found.Transaction.RollbackReason) == ("failed", "because")
