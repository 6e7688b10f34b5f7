"""gRPC, for what is prepared first: checks 160, 162, 166 and 172."""

from __future__ import annotations

from typing import Any

from tests.compat.dtm import Dtm
from tests.compat.grpc_side import OK, Ended, GrpcDtm, GrpcParticipant, branch_request_of, messages, request_of
from tests.compat.orders import new_gid, tcc_branch
from tests.compat.web import Participant


def saga(participant: GrpcParticipant, *methods: str, **more: object) -> dict[str, Any]:
    """A saga of gRPC participants: ``A`` is taken back by ``AUndo``."""
    steps = [{"action": participant.url(method), "compensate": participant.url(f"{method}Undo")} for method in methods]
    return {
        "gid": new_gid(),
        "trans_type": "saga",
        "steps": steps,
        "payloads": [f"payload of {method}" for method in methods],
        **more,
    }


async def call(dtm: Dtm, method: str, request: dict[str, Any]) -> Ended:
    return await GrpcDtm(dtm.grpc).call(method, request_of(request))


async def test_162_a_branch_of_an_unknown_gid_is_aborted(dtm: Dtm, participant: Participant) -> None:
    assert (await call(dtm, "Abort", {"gid": "unknown", "trans_type": "tcc"})).code == "INTERNAL"
    branch = branch_request_of(tcc_branch(participant, "unknown", "01", "/a"))
    ended = await GrpcDtm(dtm.grpc).call("RegisterBranch", branch)
    assert ended == Ended(code="ABORTED", details="no trans with gid: unknown status: prepared found FAILURE")


async def test_166_a_refusals_text_becomes_the_reason(dtm: Dtm, grpc_participant: GrpcParticipant) -> None:
    grpc_participant.replies("A", Ended(code="ABORTED", details="no money"))
    order = saga(grpc_participant, "A", wait_result=True)
    reason = f"url:{grpc_participant.url('A')} return failed: no money FAILURE"
    assert await call(dtm, "Submit", order) == Ended(code="ABORTED", details=reason)
    assert (await dtm.transaction(order["gid"]))["rollback_reason"] == reason


async def test_172_the_field_op_of_a_branch_is_ignored(dtm: Dtm, grpc_participant: GrpcParticipant) -> None:
    gid = new_gid()
    await call(dtm, "Prepare", {"gid": gid, "trans_type": "tcc"})
    branch = messages.DtmBranchRequest(
        Gid=gid,
        TransType="tcc",
        BranchID="01",
        Op="nonsense",
        Data={"confirm": grpc_participant.url("A"), "cancel": grpc_participant.url("B")},
        BusiPayload=b"\x00\xff",
    )
    assert await GrpcDtm(dtm.grpc).call("RegisterBranch", branch) == OK
    assert await dtm.ops(gid) == ["01 cancel", "01 confirm"]
    await call(dtm, "Submit", {"gid": gid, "trans_type": "tcc"})
    await dtm.until(gid, "succeed")
    assert [(heard.path, heard.body) for heard in grpc_participant.heard] == [("/busi.Busi/A", b"\x00\xff")]


async def test_160_a_message_of_grpc_asks_by_grpc(clocked: Dtm, grpc_participant: GrpcParticipant) -> None:
    order = {
        "gid": new_gid(),
        "trans_type": "msg",
        "steps": [{"action": grpc_participant.url("A")}],
        "payloads": ["one"],
        "query_prepared": grpc_participant.url("QueryPrepared"),
    }
    await call(clocked, "Prepare", order)
    assert (await clocked.visit(str(order["gid"]), now_in_s=180))["status"] == "succeed"
    heard = [(heard.path, heard.body) for heard in grpc_participant.heard]
    assert heard == [("/busi.Busi/QueryPrepared", b""), ("/busi.Busi/A", b"one")]
    asked = grpc_participant.heard[0].metadata
    assert (asked["dtm-op"], asked["dtm-branch_id"]) == ("msg", "00")
