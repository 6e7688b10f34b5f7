"""Large payloads wherever payloads go survive every single fault at every moment, every piece of them included."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

import flowtx
from flowtx.testing.everywhere import Ending, crash_everywhere
from flowtx.testing.faults import Fault, Schedule
from flowtx.testing.prove import single_faults_everywhere
from flowtx.testing.world import World
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.runtime.engine import Engine

PIECE_BYTES = 150
"""Small, so that few letters are many pieces; an event without a payload is shorter."""
LONG = "x" * 200

made: dict[str, str] = {}


def make(letter: str, what: str) -> str:
    made.setdefault(flowtx.current_step().key, what)
    return letter * 200


def unmake(letter: str, what: str) -> None:
    made.pop(flowtx.current_step().key.removesuffix("/c"), None)


def check_pieces(world: World) -> None:
    """What is left is what counts: nothing is to be swept after a sweep, and all of it can still be read."""
    while ids := world.store.uncounted("", float("inf"), 100):
        world.store.sweep(ids, 100)
    world.check_replay()


@flowtx.workflow
async def leg(tx: flowtx.Tx, text: str) -> str:
    return text + await tx.step(make, "c", "leg")


@flowtx.workflow
async def trip(tx: flowtx.Tx, text: str) -> str:
    first = await tx.step(make, "a", "step", compensate=unmake)
    child = await tx.child(leg, first)
    tx.message(make, "m", text)
    return text + child


def check(ending: Ending) -> None:
    assert ending.result == LONG + "a" * 200 + "c" * 200, ending
    assert sorted(made.values()) == sorted(["step", "leg", LONG])
    check_pieces(ending.world)


@pytest.mark.timeout(120)
def test_inputs_results_children_and_messages_survive_a_fault_at_every_piece() -> None:
    proof = crash_everywhere(trip, LONG, before=made.clear, check=check, workflows=[leg], piece_bytes=PIECE_BYTES)
    assert proof.play_count > 150, proof


def told_world(schedule: Schedule, workflows: list[AnyWorkflow], node_count: int = 1) -> World:
    made.clear()
    return World(workflows, schedule=schedule, piece_bytes=PIECE_BYTES, node_count=node_count)


async def until_done(told: Callable[[], Awaitable[str]]) -> str:
    while True:
        try:
            return await told()
        except JournalUnavailable:
            await trio.sleep(0.1)


@flowtx.workflow
async def listen(tx: flowtx.Tx, round: int) -> str:
    word = await tx.signal("word", type=str)
    answer = await tx.step(make, word[0], f"word {round}")
    if not round:
        tx.restart(1)
    return answer


async def tell(engine: Engine) -> str:
    async def told() -> str:
        await engine.start(listen, 0, gid="g")
        for number in range(2):
            await engine.signal("g", "word", "s" * 200, key=f"k{number}")
        return await engine.wait("g", type=str)

    return await until_done(told)


def check_told(world: World) -> None:
    row = world.store.transaction("g")
    assert row is not None
    assert row.status == "succeed"
    assert sorted(made.values()) == ["word 0", "word 1"]
    check_pieces(world)


@pytest.mark.timeout(120)
def test_signals_and_journals_that_begin_anew_survive_a_fault_at_every_piece() -> None:
    proof = single_faults_everywhere(lambda schedule: told_world(schedule, [listen]), tell, check=check_told)
    assert proof.play_count > 60, proof


@pytest.mark.parametrize("seed", range(8))
async def test_a_node_that_is_taken_for_dead_and_one_that_sweeps_agree(seed: int, autojump_clock: MockClock) -> None:
    world = told_world(Schedule({3 + seed: Fault.STALL}), [trip, leg], node_count=2)

    async def scenario(engine: Engine) -> object:
        return await until_done(lambda: engine.run(trip, LONG, gid="t"))

    assert await world.play(scenario) == LONG + "a" * 200 + "c" * 200
    check_pieces(world)
