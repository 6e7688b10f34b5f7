"""DTM's workflow mode: checks 144 to 153 and 158; what clients do with it is tried with real ones under interop."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.compat.dtm import SUCCESS, Dtm
from tests.compat.grpc_side import OK, GrpcDtm, GrpcParticipant, messages, request_of
from tests.compat.orders import new_gid, workflow, workflow_end, workflow_step
from tests.compat.ways import HttpWay
from tests.compat.web import Participant, Reply

DATA = base64.b64encode(b'{"amount":30}').decode()
EXECUTE = "/workflow.Workflow/Execute"


async def prepared(dtm: Dtm, order: dict[str, Any]) -> dict[str, Any]:
    """What prepareWorkflow answers."""
    answer = await dtm.post("prepareWorkflow", order)
    assert answer.status == 200, answer
    assert list(answer.json) == ["progresses", "transaction"]
    found: dict[str, Any] = answer.json
    return found


async def prepared_by_grpc(dtm: Dtm, order: dict[str, Any]) -> Any:
    """What PrepareWorkflow answers."""
    ended = await GrpcDtm(dtm.grpc).call("PrepareWorkflow", request_of(order))
    return messages.DtmProgressesReply.FromString(ended.reply)


async def test_144_a_new_workflow_is_prepared_and_has_no_progress(dtm: Dtm, participant: Participant) -> None:
    order = workflow(participant, "transfer", DATA)
    found = await prepared(dtm, order)
    assert found["progresses"] == []
    transaction = found["transaction"]
    assert (transaction["gid"], transaction["trans_type"], transaction["status"]) == (
        order["gid"],
        "workflow",
        "prepared",
    )
    assert transaction["custom_data"] == order["custom_data"]
    assert "result" not in transaction


async def test_145_what_was_reported_is_told_to_who_comes_back(dtm: Dtm, participant: Participant) -> None:
    order = workflow(participant, "transfer", DATA)
    await prepared(dtm, order)
    for step in (
        workflow_step(order["gid"], "01", "action", "succeed", "one"),
        workflow_step(order["gid"], "02", "action", "failed", "no money"),
    ):
        assert (await dtm.post("registerBranch", step)).body == SUCCESS
    found = await prepared(dtm, order)
    assert not any("finish_time" in row for row in found["progresses"]), "DTM has none there"
    told = [(row["branch_id"], row["op"], row["status"], row["bin_data"]) for row in found["progresses"]]
    assert told == [
        ("01", "action", "succeed", base64.b64encode(b"one").decode()),
        ("02", "action", "failed", base64.b64encode(b"no money").decode()),
    ]


async def test_146_a_step_is_reported_once(dtm: Dtm, participant: Participant) -> None:
    order = workflow(participant, "transfer")
    await prepared(dtm, order)
    step = workflow_step(order["gid"], "01", "action", "succeed", "one")
    await dtm.post("registerBranch", step)
    again = await dtm.post("registerBranch", {**step, "data": "two"})
    assert again.status == 500
    other_op = await dtm.post("registerBranch", {**step, "op": "rollback"})
    assert other_op.status == 200
    assert len((await prepared(dtm, order))["progresses"]) == 2


async def test_147_149_a_result_is_kept_and_final(dtm: Dtm, participant: Participant) -> None:
    order = workflow(participant, "transfer")
    await prepared(dtm, order)
    result = base64.b64encode(b"done \xff").decode()
    assert (await dtm.post("submit", workflow_end(order["gid"], "succeed", result))).body == SUCCESS
    transaction = (await prepared(dtm, order))["transaction"]
    assert (transaction["status"], transaction["result"]) == ("succeed", result)
    assert "finish_time" in transaction
    again = await dtm.post("submit", workflow_end(order["gid"], "failed"))
    assert (again.status, again.json) == (500, {"message": "storage: NotFound"})
    assert (await dtm.transaction(order["gid"]))["status"] == "succeed"


async def test_148_a_failure_is_kept_with_its_reason(dtm: Dtm, participant: Participant) -> None:
    order = workflow(participant, "transfer")
    await prepared(dtm, order)
    await dtm.post("submit", workflow_end(order["gid"], "failed", reason="no money"))
    transaction = (await prepared(dtm, order))["transaction"]
    assert (transaction["status"], transaction["rollback_reason"]) == ("failed", "no money")
    assert "rollback_time" in transaction


async def test_149_an_end_of_nothing_is_an_error(dtm: Dtm) -> None:
    answer = await dtm.post("submit", workflow_end(new_gid(), "succeed"))
    assert (answer.status, answer.json) == (500, {"message": "storage: NotFound"})


async def test_150_an_unfinished_workflow_is_called_back(clocked: Dtm, participant: Participant) -> None:
    order = workflow(participant, "transfer", DATA)
    await prepared(clocked, order)
    assert (await clocked.visit(order["gid"]))["status"] == "prepared"
    (call,) = participant.calls
    assert (call.method, call.path, call.body) == ("POST", "/resume", b'{"amount":30}')
    assert call.query == f"branch_id=00&gid={order['gid']}&op=transfer&trans_type=workflow"


async def test_151_without_data_the_callback_is_a_get(clocked: Dtm, participant: Participant) -> None:
    order = workflow(participant, "transfer")
    await prepared(clocked, order)
    await clocked.visit(order["gid"])
    assert [(call.method, call.body) for call in participant.calls] == [("GET", b"")]


async def test_153_whatever_the_callback_answers_it_is_called_again_until_the_end_is_told(
    clocked: Dtm, participant: Participant
) -> None:
    participant.replies("/resume", Reply(status=425), Reply(status=500), Reply(status=409), Reply())
    order = workflow(participant, "transfer", DATA)
    await prepared(clocked, order)
    for count in range(1, 5):
        assert (await clocked.visit(order["gid"]))["status"] == "prepared"
        assert len(participant.calls) == count
    await clocked.post("submit", workflow_end(order["gid"], "succeed"))
    await clocked.check_nothing_is_due(due_in_s=1_000_000)


async def test_152_158_over_grpc_a_workflow_is_called_back_and_its_end_is_told(
    clocked: Dtm, grpc_participant: GrpcParticipant
) -> None:
    order = {
        "gid": new_gid(),
        "trans_type": "workflow",
        "query_prepared": grpc_participant.address + EXECUTE,
        "custom_data": json.dumps({"name": "transfer", "data": DATA}),
    }
    reply = await prepared_by_grpc(clocked, order)
    assert (reply.Transaction.Gid, reply.Transaction.Status) == (order["gid"], "prepared")
    await clocked.visit(str(order["gid"]))
    (heard,) = grpc_participant.heard
    assert heard.path == EXECUTE
    assert heard.body == b'\x0a\x0d{"amount":30}', "a WorkflowData: its field 1 has the data"
    assert {name: value for name, value in heard.metadata.items() if name.startswith("dtm-")} == {
        "dtm-gid": order["gid"],
        "dtm-trans_type": "workflow",
        "dtm-branch_id": "00",
        "dtm-op": "transfer",
        "dtm-dtm": "",
    }
    end = workflow_end(str(order["gid"]), "failed", reason="no money")
    assert await GrpcDtm(clocked.grpc).call("Submit", request_of(end)) == OK
    reply = await prepared_by_grpc(clocked, order)
    assert (reply.Transaction.Status, reply.Transaction.RollbackReason) == ("failed", "no money")


async def test_158_over_grpc_a_finished_workflow_tells_its_result(dtm: Dtm, participant: Participant) -> None:
    # DTM leaves the result out here (spec 12.10), so a repeated workflow of its clients returns nothing.
    order = workflow(participant, "transfer")
    await prepared(dtm, order)
    step = workflow_step(order["gid"], "01", "action", "succeed", "one")
    await HttpWay(dtm).register(step)
    result = base64.b64encode(b"done").decode()
    await dtm.post("submit", workflow_end(order["gid"], "succeed", result))
    reply = await prepared_by_grpc(dtm, {"gid": order["gid"], "trans_type": "workflow"})
    assert (reply.Transaction.Status, reply.Transaction.Result) == ("succeed", result)
    assert [(row.BranchID, row.Op, row.Status, row.BinData) for row in reply.Progresses] == [
        ("01", "action", "succeed", b"one")
    ]
