"""Delayed starts: durable, once, in nobody's memory until they are due, and at the time that was asked for."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import flowtx
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.runtime.engine import Engine
from flowtx_engine.runtime.limits import EngineLimits

OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]

calls: list[str] = []


@pytest.fixture(autouse=True)
def forget_calls() -> None:
    calls.clear()


async def note(what: str) -> str:
    calls.append(what)
    return what


@flowtx.workflow
async def report(tx: flowtx.Tx, what: str) -> datetime:
    await tx.step(note, what, compensate=note)
    return tx.now()


@flowtx.workflow
async def begins(tx: flowtx.Tx) -> datetime:
    return tx.now()


def instant(engine: Engine, seconds: float = 0) -> datetime:
    return datetime.fromtimestamp(engine.now_at(), UTC) + timedelta(seconds=seconds)


async def test_a_run_begins_when_it_was_told_to_and_its_time_is_that_instant(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        at = instant(engine, 3600)
        assert await engine.run(begins, at=at) == at
        assert engine.now_at() == pytest.approx(at.timestamp(), abs=0.01)
        before_at = engine.now_at()
        assert (await engine.run(begins, delay_s=90)).timestamp() == pytest.approx(before_at + 90, abs=1e-3)


async def test_until_then_it_is_a_row_of_nobody(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        await engine.start(report, "x", gid="g", delay_s=3600)
        await trio.sleep(3000)
        row = await engine.transaction("g")
        assert row is not None
        assert (row.owner, row.status, row.is_final) == ("", "submitted", False)
        assert "0 active" in repr(engine)
        assert calls == []
        await engine.wait("g")
        assert calls == ["x"]


async def test_the_same_gid_and_input_is_the_same_run_at_its_own_time(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        at = instant(engine, 60)
        await engine.start(begins, gid="g", at=at)
        assert await engine.run(begins, gid="g", at=instant(engine, 3600)) == at
        assert await engine.run(begins, gid="g") == at
        await engine.start(report, "x", gid="h", delay_s=60)
        with pytest.raises(flowtx.GidTaken, match="another input"):
            await engine.start(report, "y", gid="h", delay_s=60)


async def test_an_instant_that_is_past_is_now(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        now_at = engine.now_at()
        assert (await engine.run(begins, at=instant(engine, -60))).timestamp() == pytest.approx(now_at, abs=1e-3)
        assert (await engine.run(begins, delay_s=0)).timestamp() == pytest.approx(now_at, abs=1e-3)
        assert len(await engine.history((await engine.transactions())[0].gid)) == 2, "no event for the start"


async def test_it_begins_on_another_engine_when_the_first_is_gone(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        at = instant(engine, 60)
        await engine.start(begins, gid="g", at=at)
    await trio.sleep(3600)
    async with open_engine([begins]) as engine:
        assert await engine.wait("g") == at.isoformat().replace("+00:00", "Z")


async def test_a_run_that_is_cancelled_before_its_time_calls_nobody(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        await engine.start(report, "x", gid="g", delay_s=3600)
        await engine.cancel("g", reason="not needed")
        with pytest.raises(flowtx.TransactionFailed, match="not needed"):
            await engine.wait("g")
        assert calls == []
        await engine.start(report, "x", gid="h", delay_s=3600)
        await engine.stop("h", reason="at once")
        row = await engine.transaction("h")
        assert row is not None
        assert (row.status, row.reason) == ("failed", "at once")


async def test_a_full_engine_takes_what_begins_later(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine(limits=EngineLimits(active_max=0)) as engine:
        with pytest.raises(flowtx.Overloaded):
            await engine.start(begins)
        await engine.start(begins, gid="later", delay_s=60)


@pytest.mark.parametrize(
    ("at", "delay_s", "message"),
    [
        (datetime(2030, 1, 1), None, "has no time zone"),
        (datetime(2030, 1, 1, tzinfo=UTC), 3.0, "both given"),
        (None, -1.0, "at least zero"),
        (None, math.nan, "at least zero"),
        (None, math.inf, "at least zero"),
        (None, 1e12, "after the year 9998"),
    ],
)
async def test_what_is_no_time_to_start_at_is_refused_and_nothing_is_stored(
    autojump_clock: MockClock,
    open_engine: OpenEngine,
    store: MemoryStore,
    at: datetime | None,
    delay_s: float | None,
    message: str,
) -> None:
    async with open_engine() as engine:
        with pytest.raises(flowtx.WorkflowError, match=message):
            await engine.start(begins, gid="g", at=at, delay_s=delay_s)
    assert store.transaction("g") is None


async def test_runs_that_wait_leave_nothing_in_memory(tmp_path: Path) -> None:
    @flowtx.workflow
    async def sleeps(tx: flowtx.Tx, number: int) -> None:
        await tx.sleep(3600)

    @flowtx.workflow(limit=flowtx.Limit(concurrency=1))
    async def queues(tx: flowtx.Tx, number: int) -> None:
        await tx.sleep(3600)

    async def begin(engine: Engine, numbers: range) -> None:
        for number in numbers:
            await engine.start(sleeps, number, gid=f"later {number}", delay_s=3600)
            await engine.start(sleeps, number, gid=f"asleep {number}")
            await engine.start(queues, number, gid=f"queued {number}")
        await trio.sleep(0.1)
        while " 0 active" not in repr(engine):  # noqa: ASYNC110 - being parked sets no event
            await trio.sleep(0.01)

    def kept() -> int:
        gc.collect()
        return sum(str(type(found).__module__).startswith("flowtx") for found in gc.get_objects())

    limits = EngineLimits(park_after_s=0.0, poll_s=60.0, heartbeat_s=60.0)
    async with flowtx.open(f"sqlite:///{tmp_path / 'parked.db'}", limits=limits) as engine:
        await begin(engine, range(5))
        before = kept()
        await begin(engine, range(5, 105))
        assert kept() - before < 20, "300 more runs, and nothing of them is kept"
        assert len(await engine.transactions(flowtx.Filter(unfinished=True), limit=1000)) == 315
