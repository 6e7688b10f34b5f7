"""Limits hold across nodes, crashes, stalls and lost answers: never more runs at once than allowed, and all finish."""

from __future__ import annotations

from collections import Counter

import trio
from hypothesis import given
from hypothesis import strategies as st

import flowtx
from flowtx.testing.faults import Fault, Schedule
from flowtx.testing.prove import play, single_faults_everywhere
from flowtx.testing.world import World
from flowtx_engine.kernel.events import Ended, Fired
from flowtx_engine.runtime.engine import Engine

AT_ONCE = 2
PER_S = 4


async def work(customer: str) -> str:
    await trio.sleep(0.3)
    return customer


def of_customer(customer: str, number: int) -> str:
    return customer


@flowtx.workflow(limit=flowtx.Limit(concurrency=AT_ONCE, per_s=PER_S, key=of_customer))
async def serve(tx: flowtx.Tx, customer: str, number: int) -> str:
    await tx.step(work, customer)
    await tx.sleep(15)  # longer than a run stays in memory
    return await tx.step(work, customer)


def gids_of(count: int) -> list[str]:
    return [f"{'ann' if number % 3 else 'bob'}-{number}" for number in range(count)]


async def submit(engine: Engine, count: int) -> None:
    """A client that starts all of them, and waits for all; again after a crash."""
    for number, gid in enumerate(gids_of(count)):
        while True:
            try:
                await engine.start(serve, gid.partition("-")[0], number, gid=gid)
                break
            except flowtx.JournalUnavailable:
                await trio.sleep(0.1)
    for gid in gids_of(count):
        await engine.wait(gid)


def check(world: World, count: int) -> None:
    """Between its start and its end, as the journal has them, a run was one of few; and in any second, few began."""
    assert all(row.status == "succeed" for row in world.transactions())
    spans = Counter[str]()
    points: list[tuple[float, int, str]] = []
    starts: dict[str, list[float]] = {}
    for gid in gids_of(count):
        events = world.history(gid)
        start_at = next(event.at for event in events if isinstance(event.fact, Fired) and event.address == "start")
        end_at = next(event.at for event in events if isinstance(event.fact, Ended))
        customer = gid.partition("-")[0]
        points += [(start_at, 1, customer), (end_at, 0, customer)]
        starts.setdefault(customer, []).append(start_at)
    for _, begins, customer in sorted(points):
        spans[customer] += 1 if begins else -1
        assert spans[customer] <= AT_ONCE, points
    for times in starts.values():
        times.sort()
        assert all(later - earlier > 1 - 0.35 for earlier, later in zip(times, times[PER_S:], strict=False)), times


def test_limits_hold_under_every_single_fault() -> None:
    async def scenario(engine: Engine) -> None:
        await submit(engine, 4)

    proof = single_faults_everywhere(
        lambda schedule: World([serve], schedule=schedule, node_count=2), scenario, check=lambda world: check(world, 4)
    )
    assert proof.crash_count > 0


@given(
    schedule=st.dictionaries(st.integers(0, 40), st.sampled_from(Fault), max_size=5).map(Schedule),
    node_count=st.integers(1, 3),
    count=st.integers(1, 7),
    interleaving=st.random_module(),
)
def test_limits_hold_under_several_faults_on_several_nodes(
    schedule: Schedule, node_count: int, count: int, interleaving: object
) -> None:
    async def scenario(engine: Engine) -> None:
        await submit(engine, count)

    check(play(lambda schedule: World([serve], schedule=schedule, node_count=node_count), scenario, schedule), count)
