"""DTM's saga over HTTP survives every single fault, and random ones with any behaviour of the participants."""

from __future__ import annotations

import random
from typing import cast

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import flowtx
from flowtx.testing.faults import NO_FAULTS, Fault, Schedule
from flowtx.testing.participants import Behaviour, Participants
from flowtx.testing.prove import MakeWorld, play, single_faults_everywhere
from flowtx.testing.world import World
from flowtx_dsl.patterns.saga import SagaOrder, SagaStep, saga
from flowtx_engine.runtime.engine import Engine

Scripts = dict[str, list[Behaviour]]


def order_of(step_count: int, **more: object) -> SagaOrder:
    """A saga over so many services."""
    steps = tuple(
        SagaStep(
            branch_id=f"{i + 1:02d}",
            action=f"http://service/{i}/do",
            compensate=f"http://service/{i}/back",
            payload=b"{}",
        )
        for i in range(step_count)
    )
    order = SagaOrder(steps=steps, request_timeout_s=3.0, retry_interval_s=10.0)
    return msgspec.structs.replace(order, **more)


def world_of(scripts: Scripts, *, node_count: int = 1) -> tuple[list[World], MakeWorld]:
    """A maker of worlds whose participants follow scripts, and the list it keeps of them."""
    worlds: list[World] = []

    def make_world(schedule: Schedule) -> World:
        participants = Participants()
        for path, behaviours in scripts.items():
            participants.script(path, behaviours)
        worlds.append(World([saga], schedule=schedule, participants=participants, node_count=node_count))
        return worlds[-1]

    return worlds, make_world


async def submit(engine: Engine, step_count: int, **more: object) -> None:
    """A client that asks again until the saga has ended."""
    while True:
        try:
            await engine.run(saga, order_of(step_count, **more), gid="s-1")
        except flowtx.TransactionFailed:
            return
        except flowtx.JournalUnavailable:
            await trio.sleep(0.1)
            continue
        return


def check(world: World) -> None:
    """All or nothing, newest first, and nothing acted on that was never asked."""
    (row,) = world.transactions()
    assert row.is_final
    acted = world.participants.acted_ops("s-1")
    actions = [each.split()[0] for each in acted if each.endswith("action")]
    compensations = [each.split()[0] for each in acted if each.endswith("compensate")]
    assert actions == sorted(actions), "actions in order"
    if row.status == "succeed":
        assert compensations == []
    else:
        assert compensations == sorted(actions, reverse=True), (acted, "every action taken back, newest first")


SCRIPTS: dict[str, Scripts] = {
    "all accept": {},
    "second refuses": {"/1/do": ["refuse"]},
    "third refuses, its compensation breaks": {"/2/do": ["refuse"], "/1/back": ["break", "refuse", "ongoing"]},
    "answers are lost": {"/0/do": ["accept silently"], "/1/do": ["accept silently", "refuse"]},
    "the first hangs": {"/0/do": ["hang"]},
}


@pytest.mark.parametrize("scripts", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_saga_survives_every_single_fault(scripts: Scripts) -> None:
    _, make_world = world_of(scripts)

    async def scenario(engine: Engine) -> None:
        await submit(engine, 3)

    proof = single_faults_everywhere(make_world, scenario, check=check)
    assert proof.crash_count > 0


CONCURRENT: dict[str, tuple[Scripts, dict[str, object]]] = {
    "all accept": ({}, {}),
    "the second refuses while the others are on their way": ({"/1/do": ["refuse"]}, {}),
    "the last of a chain refuses": ({"/2/do": ["refuse"]}, {"after": ((), (0,), (1,))}),
    "the first hangs until time is up": ({"/0/do": ["hang", "hang", "hang"]}, {"timeout_s": 20}),
    "too many faults": ({"/1/do": ["break", "ongoing", "break"]}, {"retry_limit": 2, "after": ((), (), (0, 1))}),
}


@pytest.mark.parametrize(("scripts", "more"), CONCURRENT.values(), ids=CONCURRENT.keys())
def test_a_concurrent_saga_survives_every_single_fault(scripts: Scripts, more: dict[str, object]) -> None:
    _, make_world = world_of(scripts)

    async def scenario(engine: Engine) -> None:
        await submit(engine, 3, concurrent=True, **more)

    after = cast("tuple[tuple[int, ...], ...]", more.get("after", ((), (), ())))
    proof = single_faults_everywhere(make_world, scenario, check=lambda world: check_partly_ordered(world, after))
    assert proof.crash_count > 0


def check_partly_ordered(world: World, after: tuple[tuple[int, ...], ...]) -> None:
    """All or nothing; no step acts before those it comes after, none of them is taken back before it."""
    (row,) = world.transactions()
    assert row.is_final
    acted = world.participants.acted_ops("s-1")
    actions = [int(each[:2]) - 1 for each in acted if each.endswith("action")]
    compensations = [int(each[:2]) - 1 for each in acted if each.endswith("compensate")]
    if row.status == "succeed":
        assert (sorted(actions), compensations) == ([0, 1, 2], [])
    else:
        assert sorted(compensations) == sorted(actions), (acted, "every action taken back")
    for i, before in enumerate(after):
        for j in before:
            assert i not in actions or actions.index(j) < actions.index(i), acted
            assert i not in compensations or compensations.index(i) < compensations.index(j), acted


behaviours = st.sampled_from(["accept", "refuse", "ongoing", "break", "hang", "accept silently"])
paths = st.sampled_from([f"/{i}/{what}" for i in range(3) for what in ("do", "back")])


@given(
    scripts=st.dictionaries(paths, st.lists(behaviours, max_size=3), max_size=4),
    schedule=st.dictionaries(st.integers(0, 40), st.sampled_from(Fault), max_size=5).map(Schedule),
    step_count=st.integers(0, 3),
    node_count=st.integers(1, 2),
    interleaving=st.random_module(),
)
def test_a_saga_survives_several_faults_and_any_participants(
    scripts: Scripts, schedule: Schedule, step_count: int, node_count: int, interleaving: object
) -> None:
    worlds, make_world = world_of(scripts, node_count=node_count)

    async def scenario(engine: Engine) -> None:
        await submit(engine, step_count)

    play(make_world, scenario, schedule)
    check(worlds[-1])


SHAPES: list[dict[str, object]] = [
    {"concurrent": True},
    {"concurrent": True, "after": ((), (0,), (0,))},
    {"concurrent": True, "after": ((1,), (), (0, 1)), "timeout_s": 40},
    {"concurrent": True, "retry_limit": 2},
    {"timeout_s": 30},
    {"retry_limit": 1},
]


@given(
    more=st.sampled_from(SHAPES),
    scripts=st.dictionaries(paths, st.lists(behaviours, max_size=3), max_size=4),
    schedule=st.dictionaries(st.integers(0, 40), st.sampled_from(Fault), max_size=4).map(Schedule),
    node_count=st.integers(1, 2),
    interleaving=st.random_module(),
)
def test_a_saga_of_any_shape_survives_several_faults_and_any_participants(
    more: dict[str, object], scripts: Scripts, schedule: Schedule, node_count: int, interleaving: object
) -> None:
    worlds, make_world = world_of(scripts, node_count=node_count)

    async def scenario(engine: Engine) -> None:
        await submit(engine, 3, **more)

    play(make_world, scenario, schedule)
    in_turn = ((), (0,), (1,))
    after = cast("tuple[tuple[int, ...], ...]", more.get("after", ((), (), ()) if "concurrent" in more else in_turn))
    check_partly_ordered(worlds[-1], after)


@pytest.mark.parametrize("seed", range(10))
def test_a_zombie_that_finds_its_saga_parked_by_another_node_lets_it_go(seed: int) -> None:
    """It once drove on without owning the row, claimed it over its own head, and left it owned by nobody's driver."""
    random.seed(seed)
    worlds, make_world = world_of({"/1/do": ["break", "hang", "ongoing"]}, node_count=2)

    async def scenario(engine: Engine) -> None:
        await submit(engine, 2)

    play(make_world, scenario, Schedule({1: Fault.STALL}))
    check(worlds[-1])


@pytest.mark.parametrize("seed", range(10))
def test_who_waits_is_told_when_another_node_brings_the_saga_to_its_end(seed: int) -> None:
    random.seed(seed)  # trio's scheduler throws these dice
    worlds, make_world = world_of({"/1/do": ["hang"]}, node_count=2)

    async def scenario(engine: Engine) -> None:
        await submit(engine, 2)

    play(make_world, scenario, NO_FAULTS)
    check(worlds[-1])
