"""Thirty days of timers, signals and branches: milliseconds in a test, and a crash anywhere costs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
import trio

import flowtx
from flowtx.testing.faults import NO_FAULTS, Schedule
from flowtx.testing.prove import play, single_faults_everywhere
from flowtx.testing.world import World
from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.runtime.engine import Engine

DAY_S = 86_400.0
DAYS = 30
WEEKS = [f"week {week}" for week in range(1, 5)]


@dataclass
class Subscription:
    """What was done, by the key it was done under."""

    mails: dict[str, str] = field(default_factory=dict[str, str])

    def mail(self, text: str) -> None:
        """Send it, once a key."""
        self.mails.setdefault(flowtx.current_step().key, text)


class SubscriptionWorld(World):
    """A trial of thirty days: a mail a week, and payment until the last day."""

    def __init__(self, schedule: Schedule) -> None:
        books = self.books = Subscription()

        async def remind(tx: flowtx.Tx) -> None:
            for text in WEEKS:
                await tx.sleep(7 * DAY_S)
                await tx.step(books.mail, text)

        @flowtx.workflow
        async def trial(tx: flowtx.Tx) -> str:
            began = tx.now()
            with tx.move_on_after(DAYS * DAY_S) as trial_time:
                async with tx.open_nursery() as nursery:
                    nursery.start_soon(remind, tx)
                    paid = await tx.signal("paid", type=int)
                    await tx.sleep_until(began + timedelta(days=DAYS - 1))
                    nursery.cancel_scope.cancel()
                return f"paid {paid} within {(tx.now() - began).days} days"
            assert trial_time.cancelled_caught
            return f"ended after {(tx.now() - began).days} days"

        self.trial = trial
        super().__init__([trial], schedule=schedule)


def scenario_of(worlds: list[SubscriptionWorld], expected: str, *, pays: bool) -> Callable[[Engine], Awaitable[None]]:
    async def scenario(engine: Engine) -> None:
        while True:
            try:
                await engine.start(worlds[-1].trial, gid="t")
                if pays:
                    await trio.sleep(10 * DAY_S)
                    await engine.signal("t", "paid", 900, key="payment")
                assert await engine.wait("t") == expected
                return
            except JournalUnavailable:
                await trio.sleep(1)
            except flowtx.AlreadyFinal:  # it was paid and ended before a crash of the one who pays
                assert await engine.wait("t") == expected
                return

    return scenario


CASES = pytest.mark.parametrize(
    ("pays", "expected"), [(True, "paid 900 within 29 days"), (False, "ended after 30 days")]
)


@CASES
def test_thirty_days_pass_in_a_moment(pays: bool, expected: str) -> None:
    worlds: list[SubscriptionWorld] = []

    def make_world(schedule: Schedule) -> World:
        worlds.append(SubscriptionWorld(schedule))
        return worlds[-1]

    world = play(make_world, scenario_of(worlds, expected, pays=pays), NO_FAULTS)
    assert sorted(set(worlds[-1].books.mails.values())) == WEEKS
    assert len(world.moments) < 30, "a run costs what happens in it, not the days it waits"


@CASES
def test_a_crash_at_any_boundary_costs_nothing_and_no_deadline_is_extended(pays: bool, expected: str) -> None:
    worlds: list[SubscriptionWorld] = []

    def make_world(schedule: Schedule) -> World:
        worlds.append(SubscriptionWorld(schedule))
        return worlds[-1]

    def check(world: World) -> None:
        assert sorted(worlds[-1].books.mails.values()) == WEEKS

    proof = single_faults_everywhere(make_world, scenario_of(worlds, expected, pays=pays), check=check)
    assert proof.crash_count > 10
