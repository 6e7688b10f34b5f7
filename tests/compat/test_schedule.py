"""When a transaction is due, and the calls that change it: checks 33 to 38, 194 and 198 to 200."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
import trio

from tests.compat.dtm import SUCCESS, Dtm
from tests.compat.orders import new_gid, saga
from tests.compat.web import Participant, Reply

ONGOING = Reply(status=425)


def due_in_s(transaction: dict[str, Any]) -> float:
    return datetime.fromisoformat(transaction["next_cron_time"]).timestamp() - time.time()


async def resting(dtm: Dtm, participant: Participant, retry_interval: int, count: int = 1) -> list[str]:
    """So many sagas that wait for their next try."""
    participant.replies("/a", ONGOING)
    gids: list[str] = []
    for _ in range(count):
        order = saga(participant, "/a", wait_result=True, retry_interval=retry_interval)
        await dtm.post("submit", order)
        gids.append(order["gid"])
    return gids


async def test_033_a_finished_saga_is_reset_without_effect(clocked: Dtm, participant: Participant) -> None:
    order = saga(participant, "/a", wait_result=True)
    await clocked.post("submit", order)
    before = await clocked.transaction(order["gid"])
    answer = await clocked.post("resetNextCronTime", {"gid": order["gid"]})
    assert (answer.status, answer.body) == (200, SUCCESS)
    after = await clocked.transaction(order["gid"])
    assert after["next_cron_time"] != before["next_cron_time"]
    assert abs(due_in_s(after)) < 3
    await clocked.check_nothing_is_due(due_in_s=1_000_000)
    assert participant.paths == ["/a"]


async def test_034_what_waits_is_visited_at_once_after_a_reset(dtm: Dtm, participant: Participant) -> None:
    (gid,) = await resting(dtm, participant, 60)
    participant.replies("/a", Reply())
    assert due_in_s(await dtm.transaction(gid)) > 50
    assert (await dtm.post("resetNextCronTime", {"gid": gid})).body == SUCCESS
    await dtm.until(gid, "succeed", timeout_s=5)


async def test_032_an_unknown_gid_is_not_reset(dtm: Dtm) -> None:
    answer = await dtm.post("resetNextCronTime", {"gid": "unknown"})
    assert (answer.status, answer.json) == (500, {"message": "no TransGlobal with gid: unknown found"})


async def test_035_036_037_what_is_due_late_is_made_due_now(clocked: Dtm, participant: Participant) -> None:
    await resting(clocked, participant, 110, 10)
    (early,) = await resting(clocked, participant, 90)
    assert (await clocked.get("resetCronTime?timeout=100&limit=9")).body == b'{"has_remaining":true,"succeed_count":9}'
    waiting = [row for row in (await clocked.get("all?limit=100")).json["transactions"] if due_in_s(row) > 1]
    assert len(waiting) == 2
    assert (await clocked.get("resetCronTime?timeout=100&limit=10")).json == {
        "has_remaining": False,
        "succeed_count": 1,
    }
    assert (await clocked.get("resetCronTime?timeout=100&limit=10")).json == {
        "has_remaining": False,
        "succeed_count": 0,
    }
    assert due_in_s(await clocked.transaction(early)) > 80
    assert (await clocked.get("resetCronTime?timeout=88&limit=10")).json["succeed_count"] == 1
    assert due_in_s(await clocked.transaction(early)) < 2


async def test_036_without_limits_it_is_those_due_after_105_seconds(clocked: Dtm, participant: Participant) -> None:
    await resting(clocked, participant, 110)
    await resting(clocked, participant, 100)
    assert (await clocked.get("resetCronTime")).json == {"has_remaining": False, "succeed_count": 1}


@pytest.mark.parametrize("query", ["timeout=x", "limit=x"])
async def test_038_a_number_that_is_none_is_named(dtm: Dtm, query: str) -> None:
    answer = await dtm.get(f"resetCronTime?{query}")
    assert answer.status == 500
    assert list(answer.json) == ["message"]


@pytest.mark.parametrize(
    ("timeout_to_fail", "retry_interval", "interval"), [(0, 0, 10), (0, 7, 7), (5, 0, 5), (20, 0, 10), (5, 7, 7)]
)
async def test_194_the_first_interval_of_what_is_prepared(
    dtm: Dtm, timeout_to_fail: int, retry_interval: int, interval: int
) -> None:
    gid = new_gid()
    order = {"gid": gid, "trans_type": "tcc", "timeout_to_fail": timeout_to_fail, "retry_interval": retry_interval}
    assert (await dtm.post("prepare", order)).body == SUCCESS
    assert (await dtm.transaction(gid))["next_cron_interval"] == interval


async def test_198_199_what_is_being_visited_is_not_due(clocked: Dtm, participant: Participant) -> None:
    (gid,) = await resting(clocked, participant, 10)
    participant.replies("/a", Reply(delay_s=1.0))
    assert clocked.control is not None
    async with trio.open_nursery() as visiting:
        visiting.start_soon(clocked.visit, gid)
        await participant.until_called("/a", 2)
        assert await clocked.control.visit(due_in_s=1) == ""
    assert participant.paths == ["/a", "/a"]


async def test_199_what_is_due_in_10_seconds_is_found_when_looking_20_ahead(
    clocked: Dtm, participant: Participant
) -> None:
    await resting(clocked, participant, 30)
    await clocked.check_nothing_is_due(due_in_s=20)
    (gid,) = await resting(clocked, participant, 10)
    await clocked.visit(gid, due_in_s=20)


async def test_201_what_becomes_due_is_found_within_three_seconds(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", ONGOING, Reply())
    order = saga(participant, "/a", retry_interval=1)
    await dtm.post("submit", order)
    await participant.until_called("/a", 2)
    first, second = participant.calls
    assert 0.9 <= second.at - first.at <= 4.5
