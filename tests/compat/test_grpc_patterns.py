"""gRPC, for what is prepared first: checks 160, 162, 166 and 172."""

from __future__ import annotations

import json
from typing import Any

import grpc

from tests.compat.dtm import Dtm
from tests.compat.grpc_wire import (
    GrpcParticipant,
    GrpcReply,
    GrpcTold,
    ask_grpc,
    make_branch_request,
    make_message,
    make_request,
)
from tests.compat.orders import new_gid, tcc_branch
from tests.compat.web import Participant

CODE = grpc.StatusCode
A, A_UNDO, B, B_UNDO = "/busi.Busi/A", "/busi.Busi/AUndo", "/busi.Busi/B", "/busi.Busi/BUndo"


def saga(participant: GrpcParticipant, *methods: str, **more: object) -> dict[str, Any]:
    """A saga of gRPC participants: ``/busi.Busi/A`` is taken back by ``/busi.Busi/AUndo``."""
    steps = [
        {"action": participant.address + method, "compensate": participant.address + method + "Undo"}
        for method in methods
    ]
    return {
        "gid": new_gid(),
        "trans_type": "saga",
        "steps": steps,
        "payloads": [f"payload of {method}" for method in methods],
        **more,
    }


async def call(dtm: Dtm, method: str, request: dict[str, Any]) -> GrpcTold:
    body = make_request(json.dumps, request).SerializeToString()
    return await ask_grpc(dtm.grpc, f"/dtmgimp.Dtm/{method}", body)


async def test_162_a_branch_of_an_unknown_gid_is_aborted(dtm: Dtm, participant: Participant) -> None:
    told = await call(dtm, "Abort", {"gid": "unknown", "trans_type": "tcc"})
    assert told.code is CODE.INTERNAL
    branch = make_branch_request(tcc_branch(participant, "unknown", "01", "/a")).SerializeToString()
    told = await ask_grpc(dtm.grpc, "/dtmgimp.Dtm/RegisterBranch", branch)
    assert (told.code, told.details) == (CODE.ABORTED, "no trans with gid: unknown status: prepared found FAILURE")


async def test_166_a_refusals_text_becomes_the_reason(dtm: Dtm, grpc_participant: GrpcParticipant) -> None:
    grpc_participant.replies(A, GrpcReply(code=CODE.ABORTED, details="no money"))
    order = saga(grpc_participant, A, wait_result=True)
    told = await call(dtm, "Submit", order)
    reason = f"url:{grpc_participant.address}{A} return failed: no money FAILURE"
    assert (told.code, told.details) == (CODE.ABORTED, reason)
    assert (await dtm.transaction(order["gid"]))["rollback_reason"] == reason


async def test_172_the_field_op_of_a_branch_is_ignored(dtm: Dtm, grpc_participant: GrpcParticipant) -> None:
    gid = new_gid()
    await call(dtm, "Prepare", {"gid": gid, "trans_type": "tcc"})
    branch = make_message(
        "DtmBranchRequest",
        Gid=gid,
        TransType="tcc",
        BranchID="01",
        Op="nonsense",
        Data={"confirm": grpc_participant.address + A, "cancel": grpc_participant.address + B},
        BusiPayload=b"\x00\xff",
    )
    told = await ask_grpc(dtm.grpc, "/dtmgimp.Dtm/RegisterBranch", branch.SerializeToString())
    assert told.code is CODE.OK
    assert await dtm.ops(gid) == ["01 cancel", "01 confirm"]
    await call(dtm, "Submit", {"gid": gid, "trans_type": "tcc"})
    await dtm.until(gid, "succeed")
    assert [(made.method, made.body) for made in grpc_participant.calls] == [(A, b"\x00\xff")]


async def test_160_a_message_of_grpc_asks_by_grpc(clocked: Dtm, grpc_participant: GrpcParticipant) -> None:
    query = "/busi.Busi/QueryPrepared"
    order = {
        "gid": new_gid(),
        "trans_type": "msg",
        "steps": [{"action": grpc_participant.address + A}],
        "payloads": ["one"],
        "query_prepared": grpc_participant.address + query,
    }
    await call(clocked, "Prepare", order)
    assert (await clocked.visit(str(order["gid"]), now_in_s=180))["status"] == "succeed"
    assert [(made.method, made.body) for made in grpc_participant.calls] == [(query, b""), (A, b"one")]
    asked = grpc_participant.calls[0].metadata
    assert (asked["dtm-op"], asked["dtm-branch_id"]) == ("msg", "00")
