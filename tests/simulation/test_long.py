"""Workflows of days: they pass in moments, and survive every single fault at every boundary."""

from __future__ import annotations

import time
from datetime import timedelta

import trio
from trio.testing import MockClock

import flowtx
from flowtx.testing.faults import NO_FAULTS
from flowtx.testing.prove import single_faults_everywhere
from flowtx.testing.world import World
from flowtx_engine.runtime.engine import Engine

DAY_S = 86_400.0
told: list[str] = []


async def tell(what: str) -> str:
    await trio.sleep(0.1)
    told.append(what)
    return what


async def take_back(what: str) -> None:
    told.append(f"not {what}")


@flowtx.workflow
async def trial_month(tx: flowtx.Tx, who: str, ends: str) -> str:
    began_at = tx.now()
    await tx.step(tell, f"welcome {who}", compensate=take_back)

    async def remind(day: int) -> None:
        await tx.sleep_until(began_at + timedelta(days=day))
        await tx.step(tell, f"day {day}", compensate=take_back)

    async with tx.open_nursery() as nursery:
        for day in (7, 14, 29):
            nursery.start_soon(remind, day)
    await tx.sleep_until(began_at + timedelta(days=30))
    if ends == "badly":
        raise flowtx.Abort("not paid")
    assert tx.now() - began_at < timedelta(days=31)
    return await tx.step(tell, f"goodbye {who}")


async def month(engine: Engine, ends: str) -> None:
    """A client that asks again until it is over, from a start ten days ahead on."""
    while True:
        try:
            await engine.run(trial_month, "ann", ends, gid="g", delay_s=10 * DAY_S)
        except flowtx.TransactionFailed:
            return
        except flowtx.JournalUnavailable:
            await trio.sleep(1)
            continue
        return


def test_forty_days_pass_in_milliseconds() -> None:
    told.clear()

    async def main() -> None:
        world = World([trial_month], schedule=NO_FAULTS)
        await world.play(lambda engine: month(engine, "well"))
        assert 40 * DAY_S < trio.current_time() < 41 * DAY_S

    began_s = time.process_time()
    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert told == ["welcome ann", "day 7", "day 14", "day 29", "goodbye ann"]
    assert time.process_time() - began_s < 2, "it takes 50 ms; polling once a minute would take half a minute"


def test_a_month_with_branches_survives_every_single_fault() -> None:
    def check(world: World) -> None:
        (row,) = world.transactions()
        assert row.status == "succeed"
        assert row.finished_at is not None
        assert 40 * DAY_S <= row.finished_at - row.created_at < 41 * DAY_S, "no crash makes it longer"

    proof = single_faults_everywhere(
        lambda schedule: World([trial_month], schedule=schedule), lambda engine: month(engine, "well"), check=check
    )
    assert proof.crash_count > 0


def test_a_month_that_ends_badly_is_taken_back_under_every_single_fault() -> None:
    def check(world: World) -> None:
        (row,) = world.transactions()
        assert (row.status, row.reason) == ("failed", "not paid")

    proof = single_faults_everywhere(
        lambda schedule: World([trial_month], schedule=schedule), lambda engine: month(engine, "badly"), check=check
    )
    assert proof.crash_count > 0
