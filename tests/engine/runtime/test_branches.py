"""Parallel branches in the engine: what they cost, and what deadlines and cancellations do to calls on their way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from trio.testing import MockClock

import flowtx
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.records import Write
from flowtx_engine.journal.store import WriteResult
from flowtx_engine.runtime.engine import Engine

OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]

calls: list[str] = []


@pytest.fixture(autouse=True)
def forget_calls() -> None:
    calls.clear()


async def act(what: str) -> str:
    calls.append(what)
    return what


async def take_back(what: str, *, result: str | flowtx.Unknown) -> None:
    calls.append(f"{what} back, {result!r}")


async def take_a_minute(what: str) -> str:
    try:
        await trio.sleep(60)
    except trio.Cancelled:
        calls.append(f"{what} was cut short")
        raise
    calls.append(what)
    return what


class CountingStore(MemoryStore):
    """Counts commits."""

    def __init__(self) -> None:
        super().__init__()
        self.commit_count = 0

    def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        self.commit_count += 1
        return super().commit(writes)


@flowtx.workflow
async def fan_out(tx: flowtx.Tx, n: int) -> None:
    async with tx.open_nursery() as nursery:
        for i in range(n):
            nursery.start_step(act, str(i), compensate=take_back)


@flowtx.workflow
async def with_a_deadline(tx: flowtx.Tx) -> str:
    with tx.move_on_after(100) as scope:
        await tx.step(take_a_minute, "first", compensate=take_back)
        await tx.step(take_a_minute, "second", compensate=take_back)
    if scope.cancelled_caught:
        raise flowtx.Abort("too late")
    return "in time"


async def test_a_fan_out_costs_two_commits(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    store = CountingStore()
    async with open_engine(on=store) as engine:
        for n in (10, 1000):
            before = store.commit_count
            await engine.run(fan_out, n)
            assert store.commit_count - before == 2, "one begins, and the outcomes arrive together"
    assert len(calls) == 1010


async def test_a_deadline_cuts_the_call_short_and_compensates_with_unknown(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    began_at = trio.current_time()
    async with open_engine() as engine:
        with pytest.raises(flowtx.TransactionFailed, match="too late"):
            await engine.run(with_a_deadline, gid="g")
    assert trio.current_time() - began_at == pytest.approx(100, abs=2)
    assert calls == ["first", "second was cut short", "second back, UNKNOWN", "first back, 'first'"]


async def test_a_restart_does_not_extend_a_deadline(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    began_at = trio.current_time()
    for pause_s in (30, 50):
        async with open_engine([with_a_deadline], limits=flowtx.EngineLimits(grace_s=0)) as engine:
            await engine.start(with_a_deadline, gid="g")
            await trio.sleep(pause_s)
    async with open_engine([with_a_deadline]) as engine:
        with pytest.raises(flowtx.TransactionFailed, match="too late"):
            await engine.wait("g")
    assert trio.current_time() - began_at == pytest.approx(100, abs=5)


async def test_a_deadline_that_passed_while_the_engine_was_down_starts_no_call(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine([with_a_deadline], limits=flowtx.EngineLimits(grace_s=0)) as engine:
        await engine.start(with_a_deadline, gid="g")
        await trio.sleep(5)
    await trio.sleep(1000)
    calls.clear()
    async with open_engine([with_a_deadline]) as engine:
        with pytest.raises(flowtx.TransactionFailed, match="too late"):
            await engine.wait("g")
    assert calls == ["first back, UNKNOWN"]


async def test_cancelling_reaches_every_branch_and_every_call_on_its_way(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    @flowtx.workflow
    async def branches(tx: flowtx.Tx) -> None:
        async with tx.open_nursery() as nursery:
            nursery.start_step(take_a_minute, "a", compensate=take_back)
            nursery.start_step(take_a_minute, "b", compensate=take_back)

    async with open_engine() as engine:
        await engine.start(branches, gid="g")
        await trio.sleep(5)
        await engine.cancel("g", reason="the customer left")
        with pytest.raises(flowtx.TransactionFailed, match="the customer left") as failed:
            await engine.wait("g")
        assert isinstance(failed.value.__cause__, flowtx.Cancelled)
    assert sorted(calls) == ["a back, UNKNOWN", "a was cut short", "b back, UNKNOWN", "b was cut short"]


async def test_a_compensation_is_not_stopped_by_cancelling(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async def take_back_slowly(what: str) -> None:
        await trio.sleep(60)
        calls.append(f"{what} back")

    @flowtx.workflow
    async def turns_round(tx: flowtx.Tx) -> None:
        await tx.step(act, "a", compensate=take_back_slowly)
        await tx.step(act, "b", compensate=take_back_slowly)
        raise flowtx.Abort("no")

    async with open_engine() as engine:
        await engine.start(turns_round, gid="g")
        for _ in range(3):
            await trio.sleep(20)
            await engine.cancel("g", reason="hurry")
        with pytest.raises(flowtx.TransactionFailed, match="no"):
            await engine.wait("g")
    assert calls == ["a", "b", "b back", "a back"]


async def test_the_reason_of_a_failed_nursery_is_that_of_its_branches(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async def refuse(why: str) -> None:
        raise flowtx.Refused(why)

    @flowtx.workflow
    async def refused(tx: flowtx.Tx) -> None:
        async with tx.open_nursery() as nursery:
            nursery.start_step(refuse, "no room")
            nursery.start_step(refuse, "no car")

    async with open_engine() as engine:
        with pytest.raises(flowtx.TransactionFailed, match=r"^transaction .* failed: (no room|no car)$") as failed:
            await engine.run(refused)
    assert isinstance(failed.value.__cause__, ExceptionGroup)
