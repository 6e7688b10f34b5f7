"""Driving by hand: what time would do is done when the test says, for one transaction, and by nothing else."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

import flowtx
from flowtx.testing.participants import Participants
from flowtx_dsl.workflow import workflow
from flowtx_engine.calls.performer import Calls
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.kernel.events import Attempted
from flowtx_engine.runtime.by_hand import ByHand, Round
from flowtx_engine.runtime.clock import MovableClock, TrioClock
from flowtx_engine.runtime.engine import Engine
from flowtx_engine.runtime.limits import EngineLimits

calls: list[str] = []
failing: set[str] = set()


def call(name: str) -> None:
    calls.append(name)
    if name in failing:
        raise RuntimeError(f"{name} is down")


def call_back(name: str) -> None:
    calls.append(f"{name} back")


RETRY = flowtx.Retry(first_s=10, factor=2, jitter=0)


@workflow
async def one_step(tx: flowtx.Tx, name: str) -> str:
    await tx.step(call, name, retry=RETRY)
    return name


@workflow
async def with_deadline(tx: flowtx.Tx, name: str) -> None:
    with tx.move_on_after(60) as scope:
        await tx.step(call, name, compensate=call_back, retry=RETRY)
    if scope.cancelled_caught:
        raise flowtx.Abort("too late")


@workflow
async def sleeper(tx: flowtx.Tx) -> None:
    await tx.sleep(100)


@workflow
async def listener(tx: flowtx.Tx) -> None:
    with tx.move_on_after(100):
        await tx.Event().wait()


@pytest.fixture(autouse=True)
def _forget() -> None:
    calls.clear()
    failing.clear()


async def _run_inline(fn: Callable[[], object]) -> object:
    await trio.lowlevel.checkpoint()
    return fn()


@pytest.fixture
async def engine(autojump_clock: MockClock, nursery: trio.Nursery) -> AsyncGenerator[Engine]:
    participants = Participants()
    engine = Engine(
        Journal(MemoryStore()),
        Calls(participants, grpc=participants, queues=participants, run_sync=_run_inline),  # type: ignore[arg-type]  # any function, inline
        workflows=[one_step, with_deadline, sleeper],
        limits=EngineLimits(park_after_s=0),
        clock=MovableClock(TrioClock()),
        dice=random.Random(0),
    )
    await nursery.start(engine.serve)
    yield engine
    await engine.shut_down()
    nursery.cancel_scope.cancel()


@pytest.fixture
def hand(engine: Engine) -> ByHand:
    hand = engine.by_hand()
    hand.recovery_enabled = False
    return hand


async def idle(hand: ByHand) -> None:
    while hand.in_flight_count:  # noqa: ASYNC110 - under a clock that jumps
        await trio.sleep(0.01)


async def test_nothing_that_is_due_by_time_runs_by_itself_until_it_may(
    autojump_clock: MockClock, engine: Engine, hand: ByHand
) -> None:
    failing.add("a")
    await engine.start(one_step, "a", gid="g")
    await trio.sleep(1000)
    assert calls == ["a"], "the work of a submit runs, and nothing after it"
    failing.clear()
    hand.recovery_enabled = True
    assert await engine.wait("g") == "a"
    assert calls == ["a", "a"]


async def test_a_clock_that_is_moved_wakes_whatever_is_due_then(
    autojump_clock: MockClock, engine: Engine, hand: ByHand
) -> None:
    hand.recovery_enabled = True
    began = trio.current_time()
    await engine.start(sleeper, gid="g")
    await idle(hand)
    assert hand.advance(99.0) == engine.now_at()
    hand.advance(1.5)
    await engine.wait("g")
    assert trio.current_time() - began < 2


async def test_one_round_makes_every_pending_attempt_once(
    autojump_clock: MockClock, engine: Engine, hand: ByHand
) -> None:
    failing.add("a")
    await engine.start(one_step, "a", gid="g")
    await idle(hand)
    assert await hand.cron_once(due_ahead_s=5) == Round(), "10 s are farther than 5"
    for _ in range(3):
        assert await hand.cron_once(due_ahead_s=180) == Round(gid="g", error="RuntimeError: a is down")
    assert calls == ["a"] * 4
    faults = [event.fact for event in await engine.history("g") if isinstance(event.fact, Attempted)]
    assert [fault.fault_count for fault in faults] == [1, 2, 3, 4], "they are the attempts that time would have made"
    failing.clear()
    assert await hand.cron_once(due_ahead_s=180) == Round(gid="g")
    assert await engine.wait("g") == "a"
    assert await hand.cron_once(due_ahead_s=180) == Round()


async def test_a_timer_fires_only_when_the_clock_is_read_far_enough_ahead(
    autojump_clock: MockClock, engine: Engine, hand: ByHand
) -> None:
    failing.add("a")
    await engine.start(with_deadline, "a", gid="g")
    await idle(hand)
    assert (await hand.cron_once(due_ahead_s=180, now_ahead_s=30)).gid == "g"
    row = await engine.transaction("g")
    assert row is not None
    assert (row.status, calls) == ("submitted", ["a", "a"])
    assert await hand.cron_once(due_ahead_s=180, now_ahead_s=61) == Round(gid="g")
    row = await engine.transaction("g")
    assert row is not None
    assert (row.status, calls) == ("failed", ["a", "a", "a back"])
    assert row.finished_at is not None
    assert row.finished_at <= engine.now_at() + 1, "instants in the journal are the clock's"


async def test_what_waits_for_a_deadline_alone_is_picked_and_left_as_it_is(
    autojump_clock: MockClock, engine: Engine, hand: ByHand
) -> None:
    await engine.start(listener, gid="g")
    await idle(hand)
    assert await hand.cron_once(due_ahead_s=180) == Round(gid="g")
    row = await engine.transaction("g")
    assert row is not None
    assert (row.status, row.owner) == ("submitted", "")
    assert row.wake_at is not None
    assert row.wake_at > engine.now_at() + 90, "its time has not changed"


async def test_a_sleep_is_over_when_it_is_due(autojump_clock: MockClock, engine: Engine, hand: ByHand) -> None:
    await engine.start(sleeper, gid="g")
    await idle(hand)
    assert await hand.cron_once(due_ahead_s=90) == Round()
    assert await hand.cron_once(due_ahead_s=180) == Round(gid="g")
    row = await engine.transaction("g")
    assert row is not None
    assert row.status == "succeed"


async def test_rounds_at_once_take_different_transactions(
    autojump_clock: MockClock, engine: Engine, hand: ByHand
) -> None:
    failing.update("abc")
    for name in "abc":
        await engine.start(one_step, name, gid=name)
    await idle(hand)
    found: list[str] = []

    async def pick() -> None:
        found.append((await hand.cron_once(due_ahead_s=180)).gid)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(pick)
    assert sorted(found) == ["", "a", "b", "c"]


async def test_rounds_are_told_in_their_order_and_once(autojump_clock: MockClock, engine: Engine, hand: ByHand) -> None:
    failing.add("a")
    await engine.create(one_step, b'["a"]', gid="s1", pattern="saga")
    await engine.create(one_step, b'["b"]', gid="s2", pattern="saga")
    await idle(hand)
    await hand.cron_once(due_ahead_s=180)
    assert hand.processed_pending_count == 3
    assert sorted((await hand.processed(wait_s=0))[:2]) == ["s1", "s2"]
    assert await hand.processed(wait_s=0) == []


async def test_an_end_by_force_is_no_round(autojump_clock: MockClock, engine: Engine, hand: ByHand) -> None:
    failing.add("a")
    await engine.create(one_step, b'["a"]', gid="s", pattern="saga")
    await idle(hand)
    assert await hand.processed(wait_s=0) == ["s"]
    await engine.stop("s")
    assert await hand.processed(wait_s=10) == []


async def test_a_round_is_told_before_whoever_waits_for_its_result(
    autojump_clock: MockClock, engine: Engine, hand: ByHand
) -> None:
    await engine.create(one_step, b'["a"]', gid="s", pattern="saga")
    await engine.rest("s", timeout_s=10)
    assert hand.processed_pending_count == 1


async def test_waiting_for_a_round_ends_with_the_first_or_with_its_time(
    autojump_clock: MockClock, engine: Engine, hand: ByHand
) -> None:
    assert await hand.processed(wait_s=1) == []
    told: list[str] = []

    async def listen() -> None:
        told.extend(await hand.processed(wait_s=100))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        await engine.create(one_step, b'["a"]', gid="s", pattern="saga")
    assert told == ["s"]


@pytest.mark.parametrize(("options", "late"), [(b'{"wait_result":true}', False), (b"{}", True)])
async def test_work_that_nobody_waits_for_begins_after_the_pause(
    autojump_clock: MockClock, engine: Engine, hand: ByHand, options: bytes, late: bool
) -> None:
    hand.start_delay_s = 5.0
    began = trio.current_time()
    await engine.create(one_step, b'["a"]', gid="s", pattern="saga", options=options)
    row = await engine.rest("s", timeout_s=20)
    assert row.status == "succeed"
    assert (trio.current_time() - began >= 5.0) == late


async def test_a_reset_waits_for_what_is_in_flight_and_forgets_everything(
    autojump_clock: MockClock, engine: Engine, hand: ByHand
) -> None:
    hand.start_delay_s = 3.0
    failing.add("b")
    await engine.create(one_step, b'["a"]', gid="a", pattern="saga")
    await engine.create(one_step, b'["b"]', gid="b", pattern="saga")
    await hand.reset()
    assert sorted(calls) == ["a", "b"], "what was begun came to rest"
    assert await engine.transactions() == []
    assert (hand.in_flight_count, hand.processed_pending_count) == (0, 0)
    hand.start_delay_s = 0.0
    assert not hand.recovery_enabled, "what was set stays set"
    await engine.create(one_step, b'["c"]', gid="a", pattern="saga")
    assert (await engine.rest("a", timeout_s=5)).status == "succeed"


async def test_whoever_goes_away_while_a_round_runs_leaves_it_running(
    autojump_clock: MockClock, engine: Engine, hand: ByHand
) -> None:
    failing.add("a")
    await engine.start(one_step, "a", gid="g")
    await idle(hand)
    failing.clear()
    begun: Awaitable[Round] = hand.cron_once(due_ahead_s=180)
    with trio.CancelScope() as scope:
        scope.cancel()
        await begun
    await idle(hand)
    hand.recovery_enabled = True
    assert await engine.wait("g") == "a"
