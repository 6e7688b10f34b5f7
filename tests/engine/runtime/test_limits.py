"""Limits on one engine: who waits, in which order, at which rate, and what has its place without waiting."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from trio.testing import MockClock

import flowtx
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.runtime.engine import Engine
from flowtx_engine.runtime.limits import EngineLimits

OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]

began: list[tuple[str, float]] = []
running: set[str] = set()
peak: list[int] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    began.clear()
    running.clear()
    peak.clear()


async def work(name: str, seconds: float) -> None:
    began.append((name, trio.current_time()))
    running.add(name)
    peak.append(len(running))
    await trio.sleep(seconds)
    running.discard(name)


def owner_of(name: str, seconds: float) -> str:
    return name[0]


@flowtx.workflow(limit=flowtx.Limit(concurrency=2))
async def two_at_once(tx: flowtx.Tx, name: str, seconds: float) -> None:
    await tx.step(work, name, seconds)


@flowtx.workflow(limit=flowtx.Limit(concurrency=1, key=owner_of))
async def one_for_each(tx: flowtx.Tx, name: str, seconds: float) -> None:
    await tx.step(work, name, seconds)


@flowtx.workflow(limit=flowtx.Limit(per_s=4))
async def four_a_second(tx: flowtx.Tx, name: str, seconds: float) -> float:
    await tx.step(work, name, seconds)
    return tx.now().timestamp()


@flowtx.workflow(limit=flowtx.Limit(concurrency=1))
async def sleeps(tx: flowtx.Tx, name: str, seconds: float) -> None:
    await tx.step(work, name, 0.0, compensate=work)
    await tx.sleep(seconds)


def in_groups_of(size: int) -> list[list[str]]:
    """Who began, in order; those who begin at once do so in any."""
    names = [name for name, _ in began]
    return [sorted(names[start : start + size]) for start in range(0, len(names), size)]


async def all_of(engine: Engine, *gids: str) -> None:
    for gid in gids:
        await engine.wait(gid)


async def test_runs_over_the_limit_wait_their_turn_without_memory(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        for name in "abcdef":
            await engine.start(two_at_once, name, 10.0, gid=name)
        await trio.sleep(1)
        assert "2 active" in repr(engine)
        row = await engine.transaction("f")
        assert row is not None
        assert (row.owner, row.status, row.wake_at) == ("", "submitted", None)
        await all_of(engine, *"abcdef")
    assert in_groups_of(2) == [["a", "b"], ["c", "d"], ["e", "f"]]
    assert max(peak) == 2


async def test_each_key_has_the_limit_for_itself(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        names = ["a1", "a2", "b1", "a3", "b2"]
        for name in names:
            await engine.start(one_for_each, name, 10.0, gid=name)
        await all_of(engine, *names)
    assert [round(at, -1) for _, at in sorted(began)] == pytest.approx([0, 10, 20, 0, 10], abs=1)


async def test_a_rate_spreads_beginnings_and_keeps_the_order(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        names = [f"{number:02}" for number in range(10)]
        for name in names:
            await engine.start(four_a_second, name, 0.0, gid=name)
        await all_of(engine, *names)
    assert in_groups_of(4) == [names[:4], names[4:8], names[8:]]
    times = [at for _, at in began]
    assert all(later - earlier >= 1 - 1e-6 for earlier, later in zip(times, times[4:], strict=False))
    assert times[-1] - times[0] < 2.1


async def test_its_time_begins_when_its_turn_has_come(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    @flowtx.workflow(limit=flowtx.Limit(concurrency=1))
    async def hurries(tx: flowtx.Tx, name: str) -> None:
        with tx.fail_after(15):
            await tx.step(work, name, 10.0)

    async with open_engine() as engine:
        for name in "abc":
            await engine.start(hurries, name, gid=name)
        await all_of(engine, *"abc")


async def test_a_place_is_held_while_its_run_sleeps(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        await engine.start(sleeps, "a", 3600.0, gid="a")
        await engine.start(sleeps, "b", 0.0, gid="b")
        await trio.sleep(1800)
        assert "0 active" in repr(engine)
        assert [name for name, _ in began] == ["a"]
        await all_of(engine, "a", "b")
    assert began[1][1] >= 3600


async def test_a_run_that_waits_can_be_cancelled_signalled_and_stopped_and_does_not_begin(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        for name in "abcd":
            await engine.start(sleeps, name, 60.0, gid=name)
        await trio.sleep(1)
        await engine.cancel("b", reason="not needed")
        await engine.signal("c", "hurry up")
        await engine.stop("d", reason="at once")
        with pytest.raises(flowtx.TransactionFailed, match="not needed"):
            await engine.wait("b")
        await trio.sleep(30)
        assert [name for name, _ in began] == ["a"]
        assert "0 active" in repr(engine)
        await all_of(engine, "a", "c")
    assert [name for name, _ in began] == ["a", "c"]


async def test_a_full_engine_takes_what_has_to_wait(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine(limits=EngineLimits(active_max=1)) as engine:
        for name in "abc":
            await engine.start(two_at_once, name, 10.0, gid=name)
        await all_of(engine, *"abc")
    assert max(peak) == 1


async def test_a_delayed_run_waits_for_its_place_from_then_on(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        await engine.start(sleeps, "late", 0.0, gid="late", delay_s=100)
        await engine.start(sleeps, "early", 200.0, gid="early")
        await all_of(engine, "late", "early")
    assert [(name, round(at)) for name, at in began] == [("early", 0), ("late", 200)]


async def test_a_limit_that_is_gone_from_the_code_leaves_nobody_waiting(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    @flowtx.workflow(name="sleeps")
    async def unlimited(tx: flowtx.Tx, name: str, seconds: float) -> None:
        await tx.step(work, name, 0.0, compensate=work)
        await tx.sleep(seconds)

    async with open_engine() as engine:
        for name in "abc":
            await engine.start(sleeps, name, 3600.0, gid=name)
        await trio.sleep(1)
    async with open_engine([unlimited]) as engine:
        await all_of(engine, *"abc")
    assert max(at for _, at in began) < 20


async def test_a_key_that_is_none_is_refused_and_nothing_is_stored(
    autojump_clock: MockClock, open_engine: OpenEngine, store: MemoryStore
) -> None:
    def broken(name: str) -> str:
        raise KeyError(name)

    def number(name: str) -> str:
        return 3  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # what a user may write

    async with open_engine() as engine:
        keys: dict[str, Callable[[str], str]] = {
            "raised KeyError": broken,
            "is 3, expected a text": number,
            "has 300 characters": lambda _: "k" * 300,
        }
        for message, key in keys.items():

            @flowtx.workflow(name=f"by {message}", limit=flowtx.Limit(concurrency=1, key=key))
            async def keyed(tx: flowtx.Tx, name: str) -> None: ...

            with pytest.raises(flowtx.WorkflowError, match=message):
                await engine.start(keyed, "x", gid="g")
    assert store.transaction("g") is None


@pytest.mark.parametrize(
    ("concurrency", "per_s"),
    [(None, None), (0, None), (1.5, None), (None, 0), (None, -1), (None, math.inf), (None, math.nan)],
)
def test_a_limit_that_cannot_be_kept_is_refused(concurrency: int | None, per_s: float | None) -> None:
    with pytest.raises(flowtx.WorkflowError):
        flowtx.Limit(concurrency=concurrency, per_s=per_s)
