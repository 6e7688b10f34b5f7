"""Sagas by every way in: what HTTP does, JSON-RPC and gRPC do as well (checks 80 to 84, 97 to 112, 160 and 171)."""

from __future__ import annotations

from tests.compat.dtm import Dtm
from tests.compat.orders import concurrent, saga
from tests.compat.ways import OK, Way
from tests.compat.web import Participant, Reply

REFUSES = Reply(status=409, body=b'{"error":"not enough money"}')
ONGOING = Reply(status=425, body=b"")
FAILS = Reply(status=500, body=b"out of order")


async def test_080_081_160_a_saga_succeeds_or_turns_round(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    good = saga(participant, "/a", "/b")
    assert await way(dtm).submit(good) == OK
    await dtm.until(good["gid"], "succeed")
    assert await dtm.rows(good["gid"]) == "P S P S"
    assert [call.body for call in participant.calls] == [b'{"step": "/a"}', b'{"step": "/b"}']
    participant.replies("/b", REFUSES)
    bad = saga(participant, "/a", "/b")
    assert await way(dtm).submit(bad) == OK
    found = await dtm.until(bad["gid"], "failed")
    assert await dtm.rows(bad["gid"]) == "S S S F"
    assert participant.paths == ["/a", "/b", "/a", "/b", "/b-undo", "/a-undo"]
    assert "not enough money" in found["rollback_reason"]


async def test_097_165_a_refusal_is_answered_with_its_reason(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    participant.replies("/b", REFUSES)
    order = saga(participant, "/a", "/b", wait_result=True)
    told = await way(dtm).submit(order)
    assert told.kind == "failure"
    assert told.message == (await dtm.transaction(order["gid"]))["rollback_reason"]


async def test_098_160_a_saga_that_is_not_over_is_answered_as_a_failure(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    participant.replies("/a", ONGOING, Reply())
    order = saga(participant, "/a", wait_result=True, retry_interval=1)
    told = await way(dtm).submit(order)
    assert (told.kind, told.message) == ("failure", "wait result not return success: FAILURE")
    assert await dtm.rows(order["gid"]) == "P P"
    await dtm.until(order["gid"], "succeed")


async def test_099_a_retry_limit_repeats_at_once(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    participant.replies("/a", FAILS, FAILS, FAILS, Reply())
    order = saga(participant, "/a", wait_result=True, retry_limit=3)
    assert await way(dtm).submit(order) == OK
    assert participant.paths == ["/a"] * 4


async def test_100_a_retry_limit_that_is_reached_turns_the_saga_round(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    participant.replies("/b", FAILS)
    order = saga(participant, "/a", "/b", wait_result=True, retry_limit=1)
    told = await way(dtm).submit(order)
    assert told.kind == "failure"
    found = await dtm.transaction(order["gid"])
    assert (found["status"], found["rollback_reason"]) == (
        "failed",
        "RetryCount is greater than RetryLimit, RetryLimit: 1",
    )
    assert await dtm.rows(order["gid"]) == "S S S P"
    assert participant.paths == ["/a", "/b", "/b", "/b-undo", "/a-undo"]


async def test_101_ongoing_consumes_retries_too(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    participant.replies("/a", ONGOING)
    order = saga(participant, "/a", wait_result=True, retry_limit=2)
    assert (await way(dtm).submit(order)).kind == "failure"
    assert participant.paths == ["/a", "/a", "/a", "/a-undo"]
    assert await dtm.rows(order["gid"]) == "S P"


async def test_102_171_concurrent_steps_run_side_by_side(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    participant.replies("/a", Reply(after="/b"))
    participant.replies("/b", Reply(after="/a"))
    order = saga(participant, "/a", "/b", wait_result=True, custom_data=concurrent())
    assert await way(dtm).submit(order) == OK
    assert sorted(participant.paths) == ["/a", "/b"]
    assert await dtm.rows(order["gid"]) == "P S P S"


async def test_103_concurrent_steps_do_not_wait_for_one_that_is_ongoing(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    participant.replies("/a", ONGOING, Reply())
    order = saga(participant, "/a", "/b", wait_result=True, custom_data=concurrent(), retry_interval=1)
    assert (await way(dtm).submit(order)).kind == "failure"
    assert await dtm.rows(order["gid"]) == "P P P S"
    await dtm.until(order["gid"], "succeed")


async def test_104_a_concurrent_saga_is_compensated_until_it_is_done(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    participant.replies("/a", REFUSES)
    participant.replies("/a-undo", ONGOING, Reply())
    order = saga(participant, "/a", "/b", wait_result=True, custom_data=concurrent(), retry_interval=1)
    assert (await way(dtm).submit(order)).kind == "failure"
    assert (await dtm.transaction(order["gid"]))["status"] == "aborting"
    await dtm.until(order["gid"], "failed")
    assert participant.paths.count("/a-undo") == 2


async def test_105_171_a_step_whose_turn_never_came_is_neither_called_nor_compensated(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    participant.replies("/a", REFUSES)
    order = saga(participant, "/a", "/b", wait_result=True, custom_data=concurrent({"1": [0]}))
    assert (await way(dtm).submit(order)).kind == "failure"
    assert participant.paths == ["/a", "/a-undo"]
    assert await dtm.rows(order["gid"]) == "S F P P"


async def test_106_171_orders_hold_on_the_way_back_too(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    participant.replies("/b", REFUSES)
    participant.replies("/b-undo", Reply(delay_s=0.2))
    order = saga(participant, "/a", "/b", wait_result=True, custom_data=concurrent({"1": [0]}))
    assert (await way(dtm).submit(order)).kind == "failure"
    assert participant.paths == ["/a", "/b", "/b-undo", "/a-undo"]
    assert participant.calls[3].at - participant.calls[2].at >= 0.2
    assert await dtm.rows(order["gid"]) == "S S S F"


async def test_a_step_in_flight_is_waited_for_before_it_is_compensated(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    # DTM calls the compensation at once, and it may overtake its action (spec 12.19).
    participant.replies("/a", Reply(delay_s=0.5))
    participant.replies("/b", REFUSES)
    order = saga(participant, "/a", "/b", wait_result=True, custom_data=concurrent())
    assert (await way(dtm).submit(order)).kind == "failure"
    (action,), (compensation,) = participant.calls_of("/a"), participant.calls_of("/a-undo")
    assert compensation.at - action.at >= 0.5
