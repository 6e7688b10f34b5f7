"""Two-phase messages by every way in: checks 20, 50 to 57, 65 to 76 and 160."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

from tests.compat.dtm import SUCCESS, Dtm
from tests.compat.orders import msg
from tests.compat.ways import OK, HttpWay, Way
from tests.compat.web import Participant, Reply

REFUSES = Reply(status=409, body=b"no money")
ONGOING = Reply(status=425)
FAILS = Reply(status=500, body=b"out of order")


async def test_020_050_160_a_message_is_delivered_once_to_everyone(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    participant.replies("/a", Reply(delay_s=0.3))
    order = msg(participant, "/a", "/b")
    assert await way(dtm).submit(order) == OK
    assert (await dtm.transaction(order["gid"]))["status"] == "submitted"
    found = await dtm.until(order["gid"], "succeed")
    assert "finish_time" in found
    assert await dtm.rows(order["gid"]) == "S S"
    assert await dtm.ops(order["gid"]) == ["01 action", "02 action"]
    assert [(call.method, call.path, call.body) for call in participant.calls] == [
        ("POST", "/a", b'{"step": "/a"}'),
        ("POST", "/b", b'{"step": "/b"}'),
    ]
    assert participant.calls[0].query == f"branch_id=01&gid={order['gid']}&op=action&trans_type=msg"


async def test_055_056_a_prepared_message_is_delivered_when_it_is_submitted(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    order = msg(participant, "/a", "/b")
    assert await way(dtm).prepare(order) == OK
    assert await way(dtm).prepare(order) == OK
    assert await dtm.rows(order["gid"]) == "P P"
    assert participant.calls == []
    assert await way(dtm).submit(order) == OK
    await dtm.until(order["gid"], "succeed")
    assert participant.paths == ["/a", "/b"]
    again = await way(dtm).prepare(order)
    assert (again.kind, again.message) == ("failure", "current status 'succeed', cannot prepare. FAILURE")


async def test_065_a_prepared_message_is_aborted_without_a_call(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    order = msg(participant, "/a")
    await way(dtm).prepare(order)
    assert await way(dtm).abort({"gid": order["gid"], "trans_type": "msg"}) == OK
    found = await dtm.transaction(order["gid"])
    assert found["status"] == "failed"
    assert "rollback_time" in found
    again = await way(dtm).abort({"gid": order["gid"], "trans_type": "msg"})
    assert (again.kind, again.message) == (
        "failure",
        "trans type: 'msg' current status 'failed', cannot abort. FAILURE",
    )
    late = await way(dtm).submit(order)
    assert (late.kind, late.message) == ("failure", "current status 'failed', cannot sumbmit. FAILURE")
    assert await dtm.rows(order["gid"]) == "P"
    assert participant.calls == []


async def test_066_a_concurrent_message_goes_to_all_at_once(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", Reply(after="/b"))
    participant.replies("/b", Reply(after="/a"))
    order = msg(participant, "/a", "/b", wait_result=True, concurrent=True)
    assert (await dtm.post("submit", order)).body == SUCCESS
    assert sorted(participant.paths) == ["/a", "/b"]


async def test_067_after_an_error_the_next_branch_is_not_called(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    participant.replies("/a", FAILS)
    order = msg(participant, "/a", "/b", wait_result=True)
    await way(dtm).submit(order)
    assert participant.paths == ["/a"]


async def test_068_a_message_cannot_be_refused(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    participant.replies("/a", REFUSES, Reply())
    order = msg(participant, "/a", retry_interval=1)
    await way(dtm).submit(order)
    await participant.until_called("/a", 2)
    await dtm.until(order["gid"], "succeed")
    first, second = participant.calls
    assert second.at - first.at > 1.8


async def test_070_a_delayed_message_waits(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    order = msg(participant, "/a", custom_data=json.dumps({"delay": 10}), wait_result=True)
    told = await way(dtm).submit(order)
    assert (told.kind, told.message) == ("failure", "wait result not return success: FAILURE")
    found = await dtm.transaction(order["gid"])
    assert (found["status"], found["next_cron_interval"]) == ("submitted", 10)
    assert 7 < datetime.fromisoformat(found["next_cron_time"]).timestamp() - time.time() <= 10.5
    assert participant.calls == []


async def test_069_a_delayed_message_is_delivered_by_itself(dtm: Dtm, participant: Participant) -> None:
    order = msg(participant, "/a", custom_data=json.dumps({"delay": 1}))
    began = time.time()
    await dtm.post("submit", order)
    await dtm.until(order["gid"], "succeed")
    assert time.time() - began >= 0.9


async def test_073_a_finished_message_is_not_submitted_again(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    order = msg(participant, "/a", wait_result=True)
    assert await way(dtm).submit(order) == OK
    again = await way(dtm).submit(order)
    assert (again.kind, again.message) == ("failure", "current status 'succeed', cannot sumbmit. FAILURE")


async def test_074_a_message_without_steps_is_delivered(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    order = msg(participant, wait_result=True)
    assert await way(dtm).submit(order) == OK
    assert (await dtm.transaction(order["gid"]))["status"] == "succeed"


async def test_075_with_wait_result_an_error_is_answered_in_dtms_words(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    participant.replies("/a", FAILS)
    order = msg(participant, "/a", wait_result=True)
    told = await way(dtm).submit(order)
    assert told.kind == "error"
    assert told.message.startswith(
        "your http/grpc result should be specified as in:\n"
        "http://d.dtm.pub/practice/arch.html#proto\n"
        "unkown result will be retried: "
    )
    assert told.message.endswith("out of order")
    assert (await dtm.transaction(order["gid"]))["status"] == "submitted"


async def test_075_with_wait_result_a_refusal_is_a_failure_that_is_repeated(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    participant.replies("/a", REFUSES)
    order = msg(participant, "/a", wait_result=True)
    told = await way(dtm).submit(order)
    assert told.kind == "failure"
    assert told.message.endswith("no money FAILURE")
    assert (await dtm.transaction(order["gid"]))["status"] == "submitted"


async def test_076_with_wait_result_ongoing_is_answered_as_a_failure(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    participant.replies("/a", ONGOING)
    order = msg(participant, "/a", wait_result=True)
    told = await way(dtm).submit(order)
    assert (told.kind, told.message) == ("failure", "wait result not return success: FAILURE")
    assert (await dtm.transaction(order["gid"]))["status"] == "submitted"


async def test_a_repeated_submit_calls_no_branch_again(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    # DTM calls all of them again, those that were done too (spec 12.2).
    participant.replies("/b", FAILS)
    order = msg(participant, "/a", "/b")
    await way(dtm).submit(order)
    await participant.until_called("/b")
    assert await way(dtm).submit(order) == OK
    await dtm.get("newGid")
    assert participant.paths.count("/a") == 1
    participant.replies("/b", Reply())


async def prepared_then_asked(clocked: Dtm, participant: Participant, *answers: Reply, **more: object) -> Any:
    """A prepared message that timed out and was visited."""
    participant.replies("/prepared", *answers)
    order = msg(participant, "/a", **more)
    assert await HttpWay(clocked).prepare(order) == OK
    return await clocked.visit(order["gid"], now_in_s=180)


async def test_057_a_message_that_has_not_timed_out_is_left_alone(clocked: Dtm, participant: Participant) -> None:
    order = msg(participant, "/a")
    await HttpWay(clocked).prepare(order)
    assert (await clocked.visit(order["gid"], now_in_s=20))["status"] == "prepared"
    assert participant.calls == []


async def test_058_a_message_that_timed_out_is_asked_about_and_delivered(
    clocked: Dtm, participant: Participant
) -> None:
    found = await prepared_then_asked(clocked, participant, Reply())
    assert found["status"] == "succeed"
    assert participant.paths == ["/prepared", "/a"]
    asked = participant.calls[0]
    assert (asked.method, asked.body) == ("GET", b"")
    assert asked.query == f"branch_id=00&gid={found['gid']}&op=msg&trans_type=msg"


async def test_059_a_timeout_of_the_messages_own_counts(clocked: Dtm, participant: Participant) -> None:
    order = msg(participant, "/a", timeout_to_fail=120)
    await HttpWay(clocked).prepare(order)
    assert (await clocked.visit(order["gid"], now_in_s=60))["status"] == "prepared"
    assert participant.calls == []
    assert (await clocked.visit(order["gid"], now_in_s=180))["status"] == "succeed"


async def test_060_a_message_whose_transaction_was_not_made_fails(clocked: Dtm, participant: Participant) -> None:
    found = await prepared_then_asked(clocked, participant, REFUSES)
    assert found["status"] == "failed"
    assert "rollback_reason" not in found
    assert await clocked.rows(found["gid"]) == "P"
    assert participant.paths == ["/prepared"]


async def test_061_while_the_answer_is_ongoing_it_stays_prepared(clocked: Dtm, participant: Participant) -> None:
    found = await prepared_then_asked(clocked, participant, ONGOING, Reply())
    assert (found["status"], found["next_cron_interval"]) == ("prepared", 10)
    await clocked.check_nothing_is_due(due_in_s=8)
    assert (await clocked.visit(found["gid"], now_in_s=180, due_in_s=12))["status"] == "succeed"
    assert participant.paths == ["/prepared", "/prepared", "/a"]


async def test_062_an_error_of_the_question_doubles_the_interval(clocked: Dtm, participant: Participant) -> None:
    found = await prepared_then_asked(clocked, participant, FAILS)
    assert (found["status"], found["next_cron_interval"]) == ("prepared", 20)
    again = await clocked.visit(found["gid"], now_in_s=180)
    assert (again["status"], again["next_cron_interval"]) == ("prepared", 40)


async def test_063_what_is_ongoing_after_the_question_is_called_at_the_next_visit(
    clocked: Dtm, participant: Participant
) -> None:
    participant.replies("/a", ONGOING, Reply())
    found = await prepared_then_asked(clocked, participant, Reply())
    assert found["status"] == "submitted"
    assert (await clocked.visit(found["gid"]))["status"] == "succeed"
    assert participant.paths == ["/prepared", "/a", "/a"]


async def test_064_a_message_that_names_nobody_to_ask_counts_as_committed(
    clocked: Dtm, participant: Participant
) -> None:
    found = await prepared_then_asked(clocked, participant, query_prepared="")
    assert found["status"] == "succeed"
    assert participant.paths == ["/a"]


async def test_069_a_delayed_message_is_due_after_its_delay(clocked: Dtm, participant: Participant) -> None:
    order = msg(participant, "/a", custom_data=json.dumps({"delay": 10}))
    await clocked.post("submit", order)
    await clocked.check_nothing_is_due(due_in_s=8)
    assert (await clocked.visit(order["gid"], due_in_s=12))["status"] == "succeed"
