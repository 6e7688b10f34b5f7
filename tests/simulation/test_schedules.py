"""Schedules across nodes, crashes, stalls and lost answers: one run a tick, and every tick's run comes to its end."""

from __future__ import annotations

from datetime import UTC, datetime

import trio
from hypothesis import given
from hypothesis import strategies as st

import flowtx
from flowtx.testing.faults import Fault, Schedule
from flowtx.testing.prove import play, single_faults_everywhere
from flowtx.testing.world import World
from flowtx_engine.runtime.engine import Engine

TICKS = 2
FIRST = datetime(2023, 11, 14, 22, 14, tzinfo=UTC)


async def settle(at: datetime) -> str:
    await trio.sleep(0.2)
    return at.isoformat()


@flowtx.workflow
async def nightly(tx: flowtx.Tx, what: str) -> datetime:
    began_at = tx.now()
    await tx.step(settle, began_at)
    return began_at


async def scenario(engine: Engine) -> None:
    """A program that says its schedule at every start, and stays until some ticks have come to their end."""
    while True:
        try:
            await engine.schedule("s", nightly, "x", cron="* * * * *", catch_up="all")
            break
        except flowtx.JournalUnavailable:
            await trio.sleep(0.1)
    while True:
        rows = await engine.transactions()
        if sum(row.is_final for row in rows) >= TICKS:
            return
        await trio.sleep(1)


def check(world: World) -> None:
    rows = world.transactions()
    assert all(row.status == "succeed" for row in rows if row.is_final)
    gids = sorted(row.gid for row in rows)
    expected = [f"schedule/s/2023-11-14T22:{FIRST.minute + number}:00Z" for number in range(len(rows))]
    assert gids == expected, "every tick one run, and no tick none"
    for row in rows:
        began = [event for event in world.history(row.gid) if event.seq == 0]
        assert len(began) == 1
    (schedule,) = world.store.schedules()
    assert schedule.skipped_count == 0


def test_every_tick_is_started_once_under_every_single_fault() -> None:
    proof = single_faults_everywhere(
        lambda schedule: World([nightly], schedule=schedule, node_count=2), scenario, check=check
    )
    assert any("tick" in moment.what for moment in proof.moments)
    assert proof.crash_count > 0


@given(
    schedule=st.dictionaries(st.integers(0, 25), st.sampled_from(Fault), max_size=5).map(Schedule),
    node_count=st.integers(1, 3),
    interleaving=st.random_module(),
)
def test_every_tick_is_started_once_under_several_faults(
    schedule: Schedule, node_count: int, interleaving: object
) -> None:
    check(play(lambda schedule: World([nightly], schedule=schedule, node_count=node_count), scenario, schedule))
