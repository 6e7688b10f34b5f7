"""At every single fault: a step that may be made once only is never made twice without a person's word.

The books stand in this file: what was really done, whoever may know of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import flowtx
from flowtx.testing.faults import Fault, Schedule
from flowtx.testing.prove import play, schedules_everywhere
from flowtx.testing.world import World
from flowtx_engine.kernel.events import Decided, Started
from flowtx_engine.runtime.engine import Engine


class Books(World):
    """A world where payments are written down each time they are made."""

    def __init__(self, schedule: Schedule, *, effect: str, branches: bool = False, node_count: int = 1) -> None:
        self.made: list[str] = []
        self.taken_back: list[str] = []

        async def pay(name: str) -> str:
            self.made.append(name)
            return f"paid {name}"

        async def has_paid(name: str) -> str | flowtx.NotDone:
            return f"paid {name}" if name in self.made else flowtx.NOT_DONE

        async def pay_back(name: str, *, result: str | flowtx.Unknown) -> None:
            self.taken_back.append(f"{name} {result}")

        how: flowtx.Effect[str] = flowtx.once if effect == "once" else flowtx.check(has_paid)

        @flowtx.workflow
        async def shop(tx: flowtx.Tx, fails: bool) -> str:
            if branches:
                async with tx.open_nursery() as nursery:
                    nursery.start_step(pay, "ann", effect=how, compensate=pay_back)
                    nursery.start_step(pay, "bob", effect=how, compensate=pay_back)
            else:
                await tx.step(pay, "ann", effect=how, compensate=pay_back)
                await tx.step(pay, "bob", effect=how, compensate=pay_back)
            if fails:
                raise flowtx.Abort("after all")
            return "done"

        self.shop = shop
        super().__init__([shop], schedule=schedule, node_count=node_count)


def person(worlds: list[Books], *, fails: bool, honest: bool) -> Callable[[Engine], Awaitable[None]]:
    """A client that begins the run, and a person who looks into the books and decides what is in doubt.

    One who is not honest says "refused" whatever the books say: nothing may be made again for that.
    """

    async def scenario(engine: Engine) -> None:
        world = worlds[-1]
        while True:
            await trio.sleep(1)
            try:
                await engine.start(world.shop, fails, gid="g")
                row = await engine.transaction("g")
                assert row is not None
                if row.is_final:
                    return
                for waiting in (await engine.tasks("g")).waiting if row.needs_decision else ():
                    if waiting.needs_decision:
                        await decide(engine, world, waiting.address, waiting.what)
            except (flowtx.JournalUnavailable, flowtx.NotInDoubt):
                continue

    async def decide(engine: Engine, world: Books, address: str, what: str) -> None:
        name = "ann" if "ann" in what else "bob"
        if not honest:
            await engine.decide("g", address, "refused")
        elif name in world.made:
            await engine.decide("g", address, "succeeded", value=f"paid {name}")
        else:
            await engine.decide("g", address, "retry")

    return scenario


def schedules(calm: Books) -> list[Schedule]:
    """Every single fault but one: a call that the network delivers twice is nothing that an engine can prevent."""
    return [
        Schedule({moment.number: fault})
        for moment in calm.moments
        for fault in Fault
        if fault is not Fault.REPEAT and (moment.kind == "call" or fault is not Fault.STALL)
    ]


def check(world: World) -> None:
    assert isinstance(world, Books)
    (row,) = world.transactions()
    decided = [event.fact for event in world.history("g") if isinstance(event.fact, Decided)]
    started = [event for event in world.history("g") if isinstance(event.fact, Started)]
    retries = sum(fact.verdict == "retry" for fact in decided)
    assert len(world.made) == len(set(world.made)), f"made twice: {world.made}, decided {decided}"
    assert len(started) <= 2 + retries
    assert row.is_final
    assert not row.needs_decision
    decided_as_refused = any(fact.verdict == "refused" for fact in decided)
    if not decided_as_refused:
        assert sorted(world.made) == ["ann", "bob"]
    if row.reason == "after all":
        # Compensations may be made twice; each knows what the person said.
        by_the_books = {f"{name} paid {name}" for name in world.made}
        assert set(world.taken_back) <= by_the_books
        assert decided_as_refused or set(world.taken_back) == by_the_books


@pytest.mark.parametrize("honest", [True, False], ids=["honest", "careless"])
@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
@pytest.mark.parametrize("branches", [False, True], ids=["one after another", "in branches"])
@pytest.mark.parametrize("node_count", [1, 2])
def test_a_once_step_is_never_made_twice_at_any_single_fault(
    honest: bool, fails: bool, branches: bool, node_count: int
) -> None:
    worlds: list[Books] = []

    def make(schedule: Schedule) -> World:
        worlds.append(Books(schedule, effect="once", branches=branches, node_count=node_count))
        return worlds[-1]

    scenario = person(worlds, fails=fails, honest=honest)
    calm = play(make, scenario, Schedule())
    assert isinstance(calm, Books)
    count = schedules_everywhere(make, scenario, schedules(calm), check=check)
    assert count > 20
    assert any(isinstance(event.fact, Decided) for world in worlds for event in world.history("g")), "nothing was tried"


@pytest.mark.parametrize("branches", [False, True], ids=["one after another", "in branches"])
@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
def test_a_step_that_is_asked_about_is_made_exactly_once_at_any_single_fault_and_needs_nobody(
    fails: bool, branches: bool
) -> None:
    worlds: list[Books] = []

    def make(schedule: Schedule) -> World:
        worlds.append(Books(schedule, effect="check", branches=branches))
        return worlds[-1]

    def exactly_once(world: World) -> None:
        check(world)
        assert isinstance(world, Books)
        assert sorted(world.made) == ["ann", "bob"]

    scenario = person(worlds, fails=fails, honest=True)
    calm = play(make, scenario, Schedule())
    assert isinstance(calm, Books)
    assert schedules_everywhere(make, scenario, schedules(calm), check=exactly_once) > 15
    assert max(len(world.made) for world in worlds) == 2


@pytest.mark.parametrize(
    ("schedule", "fails", "honest"),
    [
        # An outside decision beat the driver's parking while both answers were lost, and it ended the run.
        (Schedule({4: Fault.CRASH_BEFORE, 8: Fault.LOSE_ANSWER}), False, True),
        # The step in doubt was given up when its sibling was refused; whoever looked for it did not find it.
        (Schedule({1: Fault.CRASH_AFTER, 6: Fault.CRASH_BEFORE}), True, False),
    ],
)
def test_schedules_that_once_hung(schedule: Schedule, fails: bool, honest: bool) -> None:
    worlds: list[Books] = []

    def make(schedule: Schedule) -> World:
        worlds.append(Books(schedule, effect="once", branches=True))
        return worlds[-1]

    check(play(make, person(worlds, fails=fails, honest=honest), schedule))


FAULTS = [fault for fault in Fault if fault is not Fault.REPEAT]


@given(
    st.dictionaries(st.integers(0, 23), st.sampled_from(FAULTS), max_size=4),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 2]),
)
def test_a_once_step_is_never_made_twice_under_several_faults(
    faults: dict[int, Fault], branches: bool, fails: bool, honest: bool, node_count: int
) -> None:
    worlds: list[Books] = []

    def make(schedule: Schedule) -> World:
        worlds.append(Books(schedule, effect="once", branches=branches, node_count=node_count))
        return worlds[-1]

    check(play(make, person(worlds, fails=fails, honest=honest), Schedule(faults)))
