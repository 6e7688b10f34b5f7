"""Updates, queries, children and restarts through a whole engine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
import trio.testing

import flowtx
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.kernel.events import Began

OpenEngine = Callable[..., AbstractAsyncContextManager[flowtx.Engine]]

done: list[str] = []


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    done.clear()


def act(what: str) -> str:
    done.append(what)
    return what


def back(what: str) -> None:
    done.append(f"{what} back")


def tell(what: str) -> None:
    done.append(f"{what} told")


def refuse() -> None:
    raise flowtx.Refused("no")


# -- updates and queries


@flowtx.workflow
async def basket(tx: flowtx.Tx) -> list[str]:
    items: list[str] = []
    tx.expose("items", lambda: items)
    tx.guard("add", lambda item: _short(item), type=str)
    while len(items) < 2:
        update = await tx.update("add", type=str)
        if update.value in items:
            update.refuse("it is there already")
            continue
        await tx.sleep(1)
        items.append(update.value)
        update.answer(len(items))
    return items


def _short(item: str) -> None:
    if len(item) > 5:
        raise flowtx.Refused(f"{item} is too long")


async def test_updates_are_answered_and_queries_see_what_is_durable(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine([basket]) as one, open_engine([basket]) as other:
        await one.start(basket, gid="g")
        assert await one.query("g", "items") == []
        assert await one.update("g", "add", "pen", key="k") == 1
        assert await other.update("g", "add", "pen", key="k") == 1, "the same key is the same update"
        assert await other.query("g", "items") == ["pen"]
        event_count = len(await one.history("g"))
        with pytest.raises(flowtx.Refused, match="too long"):
            await one.update("g", "add", "umbrella")
        assert len(await one.history("g")) == event_count, "what a guard refuses is not stored"
        with pytest.raises(flowtx.Refused, match="already"):
            await other.update("g", "add", "pen")
        assert await other.update("g", "add", "cup") == 2
        assert await one.wait("g") == ["pen", "cup"]
        assert await one.query("g", "items") == ["pen", "cup"]
        with pytest.raises(flowtx.AlreadyFinal):
            await one.update("g", "add", "key")
        with pytest.raises(flowtx.QueryError, match="exposes items"):
            await one.query("g", "price")


@flowtx.workflow
async def deaf(tx: flowtx.Tx) -> None:
    await tx.update("add")


async def test_an_update_that_the_run_ends_without_answering_is_told_so(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine([deaf]) as engine:
        await engine.start(deaf, gid="g")
        with pytest.raises(flowtx.Unanswered):
            await engine.update("g", "add", "pen")


# -- children


@flowtx.workflow
async def leg(tx: flowtx.Tx, name: str, seconds: float) -> str:
    await tx.step(act, name, compensate=back)
    tx.message(tell, name)
    await tx.sleep(seconds)
    return f"{name} done"


@flowtx.workflow
async def trip(tx: flowtx.Tx, seconds: float, fails: bool) -> list[str]:
    first = await tx.child(leg, "a", seconds)
    second = await tx.child(leg, "b", 0)
    if fails:
        await tx.step(refuse)
    return [first, second]


@pytest.mark.parametrize("seconds", [1, 5_000])
async def test_a_child_is_final_when_its_parent_is(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine, seconds: float
) -> None:
    async with open_engine([trip, leg]) as engine:
        assert await engine.run(trip, seconds, False, gid="g") == ["a done", "b done"]
        assert done == ["a", "b", "a told", "b told"]
        assert [(row.gid, row.status) for row in await engine.transactions()] == [
            ("g/1", "succeed"),
            ("g/0", "succeed"),
            ("g", "succeed"),
        ]
        assert trio.current_time() < seconds + 60, "the parent is told when its child is done"


async def test_a_child_is_taken_back_with_its_parent(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine([trip, leg]) as engine:
        with pytest.raises(flowtx.TransactionFailed):
            await engine.run(trip, 1, True, gid="g")
        assert done == ["a", "b", "b back", "a back"]
        assert {row.status for row in await engine.transactions()} == {"failed"}


@flowtx.workflow
async def failing_leg(tx: flowtx.Tx) -> None:
    await tx.step(act, "c", compensate=back)
    raise flowtx.Abort("no seat")


@flowtx.workflow
async def careful(tx: flowtx.Tx) -> str:
    try:
        await tx.child(failing_leg)
    except flowtx.TransactionFailed as failed:
        return f"{failed.reason} ({type(failed.__cause__).__name__})"
    return "nothing failed"


async def test_a_child_that_fails_has_taken_itself_back_and_its_parent_may_go_on(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine([careful, failing_leg]) as engine:
        assert await engine.run(careful, gid="g") == "no seat (Abort)"
        assert done == ["c", "c back"]


@flowtx.workflow
async def impatient(tx: flowtx.Tx) -> str:
    with tx.move_on_after(5):
        await tx.child(leg, "slow", 1_000)
    return "went on"


async def test_a_child_that_was_given_up_is_taken_back_even_when_its_parent_succeeds(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine([impatient, leg]) as engine:
        assert await engine.run(impatient, gid="g") == "went on"
        assert done == ["slow", "slow back"]


@flowtx.workflow
async def sender(tx: flowtx.Tx, gid: str) -> str:
    begun = await tx.detach(leg, "d", 100, gid=gid)
    await tx.step(refuse)
    return begun


async def test_a_detached_transaction_is_its_own_master(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine([sender, leg]) as engine:
        with pytest.raises(flowtx.TransactionFailed):
            await engine.run(sender, "d-1", gid="g")
        assert await engine.wait("d-1") == "d done"
        assert done == ["d", "d told"]


async def test_a_gid_that_is_no_child_of_this_parent_is_refused(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    @flowtx.workflow
    async def thief(tx: flowtx.Tx) -> str:
        return await tx.child(leg, "a", 0.0, gid="mine")

    async with open_engine([thief, leg]) as engine:
        await engine.run(leg, "a", 0.0, gid="mine")
        with pytest.raises(flowtx.TransactionFailed) as caught:
            await engine.run(thief, gid="g")
        assert isinstance(caught.value.__cause__, flowtx.GidTaken)
        assert done == ["a", "a told"]


# -- restarts


@flowtx.workflow
async def rounds(tx: flowtx.Tx, round: int, total: int) -> int:
    total += await tx.signal("n", type=int)
    await tx.step(act, f"round {round}", compensate=back)
    if round == 3:
        return total
    return tx.restart(round + 1, total)


async def test_a_run_that_restarts_keeps_its_gid_and_its_signals_and_a_short_journal(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine, store: MemoryStore
) -> None:
    async with open_engine([rounds]) as engine:
        await engine.start(rounds, 1, 0, gid="g")
        for number in (1, 2, 3):
            await engine.signal("g", "n", number, key=f"k{number}")
            await engine.signal("g", "n", number, key=f"k{number}")
        assert await engine.wait("g") == 6
        assert done == ["round 1", "round 2", "round 3"]
        events = await engine.history("g")
        assert isinstance(events[0].fact, Began)
        assert (events[0].seq > 5, len(events) < 6) == (True, True), events
        assert await engine.start(rounds, 1, 0, gid="g") == "g", "begun with its first input"
        await engine.signal("g", "n", 1, key="k1")  # it came two journals ago, and is not too late
