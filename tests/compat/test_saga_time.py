"""Sagas and time: checks 82, 83, 88 and 92 to 98, where the test says what is due."""

from __future__ import annotations

from tests.compat.dtm import Dtm
from tests.compat.orders import saga
from tests.compat.web import Participant, Reply

REFUSES = Reply(status=409, body=b"no money")
ONGOING = Reply(status=425)
FAILS = Reply(status=500)


async def test_082_the_next_visit_completes_what_was_ongoing(clocked: Dtm, participant: Participant) -> None:
    participant.replies("/a", ONGOING, Reply())
    order = saga(participant, "/a", "/b", wait_result=True)
    await clocked.post("submit", order)
    assert participant.paths == ["/a"]
    assert (await clocked.visit(order["gid"]))["status"] == "succeed"
    assert participant.paths == ["/a", "/a", "/b"]


async def test_083_the_next_visit_repeats_a_compensation(clocked: Dtm, participant: Participant) -> None:
    participant.replies("/b", REFUSES)
    participant.replies("/a-undo", FAILS, Reply())
    order = saga(participant, "/a", "/b", wait_result=True)
    await clocked.post("submit", order)
    assert (await clocked.transaction(order["gid"]))["status"] == "aborting"
    assert (await clocked.visit(order["gid"]))["status"] == "failed"
    assert await clocked.rows(order["gid"]) == "S S S F"


async def test_088_a_later_visit_sends_the_branch_headers_too(clocked: Dtm, participant: Participant) -> None:
    participant.replies("/a", ONGOING, Reply())
    order = saga(participant, "/a", wait_result=True, branch_headers={"test_header": "yes"})
    await clocked.post("submit", order)
    await clocked.visit(order["gid"])
    assert [call.headers["test_header"] for call in participant.calls] == ["yes", "yes"]


async def test_092_a_saga_without_a_timeout_never_times_out(clocked: Dtm, participant: Participant) -> None:
    participant.replies("/a", ONGOING)
    order = saga(participant, "/a", wait_result=True)
    await clocked.post("submit", order)
    assert (await clocked.visit(order["gid"], now_in_s=1_000_000))["status"] == "submitted"
    assert participant.paths == ["/a", "/a"]


async def test_093_a_saga_that_timed_out_is_compensated_as_far_as_it_went(
    clocked: Dtm, participant: Participant
) -> None:
    participant.replies("/a", ONGOING)
    order = saga(participant, "/a", "/b", wait_result=True, timeout_to_fail=1800)
    await clocked.post("submit", order)
    assert (await clocked.visit(order["gid"], now_in_s=60))["status"] == "submitted"
    found = await clocked.visit(order["gid"], now_in_s=3600)
    assert (found["status"], found["rollback_reason"]) == ("failed", "Timeout after 1800 seconds")
    assert await clocked.rows(order["gid"]) == "S P P P"
    assert participant.paths == ["/a", "/a", "/a-undo"]


async def test_094_an_ongoing_saga_is_due_after_its_interval(clocked: Dtm, participant: Participant) -> None:
    participant.replies("/a", ONGOING, Reply())
    order = saga(participant, "/a", wait_result=True, retry_interval=150)
    await clocked.post("submit", order)
    await clocked.check_nothing_is_due(due_in_s=140)
    assert (await clocked.visit(order["gid"], due_in_s=160))["status"] == "succeed"


async def test_095_a_saga_in_error_is_due_after_twice_its_interval(clocked: Dtm, participant: Participant) -> None:
    participant.replies("/a", FAILS, Reply())
    order = saga(participant, "/a", wait_result=True, retry_interval=150)
    await clocked.post("submit", order)
    await clocked.check_nothing_is_due(due_in_s=180)
    assert (await clocked.visit(order["gid"], due_in_s=360))["status"] == "succeed"


async def test_109_a_saga_that_turned_round_is_taken_up_where_it_was(clocked: Dtm, participant: Participant) -> None:
    # DTM may lose the reason here ("fail message lost"); a journal does not.
    participant.replies("/a", REFUSES)
    participant.replies("/a-undo", FAILS, Reply())
    order = saga(participant, "/a", wait_result=True)
    await clocked.post("submit", order)
    found = await clocked.visit(order["gid"])
    assert found["status"] == "failed"
    assert "no money" in found["rollback_reason"]
    assert participant.paths == ["/a", "/a-undo", "/a-undo"]


async def test_200_a_finished_saga_is_never_visited(clocked: Dtm, participant: Participant) -> None:
    await clocked.post("submit", saga(participant, "/a", wait_result=True))
    await clocked.check_nothing_is_due(due_in_s=1_000_000)
