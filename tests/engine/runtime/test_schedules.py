"""Schedules on one engine: each tick once, what becomes of missed and overlapping ones, and changes of a schedule."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import pytest
import trio
from trio.testing import MockClock

import flowtx
from flowtx_engine.runtime.engine import Engine
from flowtx_engine.runtime.schedules import NoSuchSchedule

OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]

MINUTE = "* * * * *"
ran: list[tuple[str, datetime]] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    ran.clear()


async def note(what: str, at: datetime) -> None:
    ran.append((what, at))


@flowtx.workflow
async def settle(tx: flowtx.Tx, what: str) -> None:
    await tx.step(note, what, tx.now())


@flowtx.workflow
async def takes_long(tx: flowtx.Tx, what: str) -> None:
    await tx.step(note, what, tx.now())
    await tx.sleep(150)


def minutes() -> list[int]:
    """The minutes of the ticks that ran; the clock begins at 22:13:20."""
    assert all(at.second == at.microsecond == 0 for _, at in ran)
    return [at.minute for _, at in ran]


async def test_every_tick_is_started_once_and_its_time_is_the_ticks(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        made = await engine.schedule("s", settle, "x", cron=MINUTE)
        assert made.next_at == datetime(2023, 11, 14, 22, 14, tzinfo=UTC).timestamp()
        await trio.sleep(200)
        (schedule,) = await engine.schedules()
        rows = await engine.transactions()
    assert minutes() == [14, 15, 16]
    assert sorted(row.gid for row in rows) == [f"schedule/s/2023-11-14T22:{minute}:00Z" for minute in (14, 15, 16)]
    assert all(row.status == "succeed" for row in rows)
    assert (schedule.last_gid, schedule.skipped_count) == ("schedule/s/2023-11-14T22:16:00Z", 0)


async def test_of_missed_ticks_the_latest_is_started_unless_told_otherwise(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        for catch_up in ("latest", "all", "none"):
            await engine.schedule(catch_up, settle, catch_up, cron=MINUTE, catch_up=catch_up)
        await engine.schedule("hourly", settle, "hourly", cron="0 * * * *", catch_up="none")
    await trio.sleep(3540)  # down until 23:12:20
    async with open_engine([settle]) as engine:
        await trio.sleep(5)
        skipped = {schedule.name: schedule.skipped_count for schedule in await engine.schedules()}
    assert [at.minute for what, at in ran if what == "latest"] == [12]
    assert sorted((at - datetime(2023, 11, 14, 22, 14, tzinfo=UTC)).seconds for what, at in ran if what == "all") == [
        60 * number for number in range(59)
    ]
    assert [at.minute for what, at in ran if what == "none"] == [12], "found 20 s after its time, it is not missed"
    assert [at for what, at in ran if what == "hourly"] == []
    assert skipped == {"latest": 58, "all": 0, "none": 58, "hourly": 1}


async def test_ticks_may_overlap_or_be_skipped(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        await engine.schedule("allow", takes_long, "allow", cron=MINUTE)
        await engine.schedule("skip", takes_long, "skip", cron=MINUTE, overlap="skip")
        await trio.sleep(400)
        skipped = {schedule.name: schedule.skipped_count for schedule in await engine.schedules()}
    assert [at.minute for what, at in ran if what == "allow"] == [14, 15, 16, 17, 18, 19]
    assert [at.minute for what, at in ran if what == "skip"] == [14, 17]
    assert skipped == {"allow": 0, "skip": 4}


async def test_saying_a_schedule_again_changes_what_is_new_in_it(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        await engine.schedule("s", settle, "x", cron=MINUTE)
        await trio.sleep(70)
        first = await engine.schedule("s", settle, "y", cron=MINUTE)
        assert (first.last_gid, first.next_at) == (
            "schedule/s/2023-11-14T22:14:00Z",
            datetime(2023, 11, 14, 22, 15, tzinfo=UTC).timestamp(),
        )
        await trio.sleep(60)
        await engine.schedule("s", settle, "z", cron="0 0 * * *")
        await trio.sleep(600)
        assert len(await engine.schedules()) == 1
    assert [what for what, _ in ran] == ["x", "y"]


async def test_the_same_schedule_said_late_does_not_lose_a_tick(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        await engine.schedule("s", settle, "x", cron="0 23 * * *")
    await trio.sleep(3600)
    async with open_engine() as engine:
        await engine.schedule("s", settle, "x", cron="0 23 * * *")
        await trio.sleep(5)
    assert minutes() == [0]


async def test_a_schedule_is_forgotten_and_its_runs_go_on(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        await engine.schedule("s", takes_long, "x", cron=MINUTE)
        await trio.sleep(50)
        await engine.unschedule("s")
        with pytest.raises(NoSuchSchedule, match="no schedule s"):
            await engine.unschedule("s")
        await trio.sleep(300)
        (row,) = await engine.transactions()
        assert row.status == "succeed"


async def test_a_schedule_waits_for_a_node_with_its_code(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        await engine.schedule("s", settle, "x", cron=MINUTE)
    async with open_engine([takes_long]) as engine:
        await trio.sleep(100)
        assert ran == []
    async with open_engine([settle]) as engine:
        await trio.sleep(5)
    assert len(ran) == 1


async def test_a_scheduled_workflow_keeps_its_limit(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    @flowtx.workflow(limit=flowtx.Limit(concurrency=1))
    async def alone(tx: flowtx.Tx, what: str) -> None:
        await tx.step(note, what, tx.now())
        await tx.sleep(90)

    async with open_engine() as engine:
        await engine.schedule("s", alone, "x", cron=MINUTE)
        await trio.sleep(300)
    times = [at for _, at in ran]
    assert len(times) >= 3
    assert all((later - earlier).total_seconds() >= 90 for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize(
    ("name", "cron", "message"),
    [("", MINUTE, "1 to 90 characters"), ("x" * 91, MINUTE, "got 91"), ("s", "soon", "'soon' cannot be used")],
)
async def test_what_could_not_be_started_is_refused(
    autojump_clock: MockClock, open_engine: OpenEngine, name: str, cron: str, message: str
) -> None:
    async with open_engine() as engine:
        with pytest.raises(flowtx.WorkflowError, match=message):
            await engine.schedule(name, settle, "x", cron=cron)
        with pytest.raises(flowtx.WorkflowError, match="expected one of latest, all, none"):
            await engine.schedule("s", settle, "x", cron=MINUTE, catch_up="some")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what a user may write
        assert await engine.schedules() == []
