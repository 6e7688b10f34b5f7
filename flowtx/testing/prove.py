"""Proving recovery: every single fault at every moment of a transaction, one play each.

The law of this file: a proof says what it tried and how much of it there was. A failure names the schedule in plain
words and as an expression that repeats it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import trio
import trio.testing

from flowtx.testing.faults import NO_FAULTS, Moment, Schedule, single_faults
from flowtx.testing.world import World
from flowtx_dsl.errors import FlowtxError
from flowtx_engine.runtime.engine import Engine


class NotProved(FlowtxError):
    """A transaction did not survive a fault; the cause is the check that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was tried: ``moments`` of the play without faults, and how many plays with faults held."""

    moments: tuple[Moment, ...]
    play_count: int
    crash_count: int

    def __str__(self) -> str:
        return f"{self.play_count} of {self.play_count} single faults at {len(self.moments)} moments survived"


MakeWorld = Callable[[Schedule], World]
Scenario = Callable[[Engine], Awaitable[object]]
Check = Callable[[World], None]


def play(make_world: MakeWorld, scenario: Scenario, schedule: Schedule) -> World:
    """One play under a jumping clock, in a world of its own, checked for replay; the world afterwards."""

    async def main() -> World:
        world = make_world(schedule)
        await world.play(scenario)
        world.check_replay()
        return world

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def single_faults_everywhere(
    make_world: MakeWorld,
    scenario: Scenario,
    *,
    check: Check,
) -> Proof:
    """Play once without faults, then once for every fault at every moment of it; ``check`` looks at each world.

    ``make_world`` makes a fresh world with the schedule it is given. Raises ``NotProved`` at the first schedule that
    ends wrong.
    """
    calm = _checked(make_world, scenario, NO_FAULTS, check)
    plays = [_checked(make_world, scenario, schedule, check) for schedule in single_faults(calm.moments)]
    return Proof(
        moments=tuple(calm.moments), play_count=len(plays), crash_count=sum(world.crash_count for world in plays)
    )


def schedules_everywhere(
    make_world: MakeWorld,
    scenario: Scenario,
    schedules: Iterable[Schedule],
    *,
    check: Check,
) -> int:
    """Play every schedule given and return how many there were; raises ``NotProved``."""
    return len([_checked(make_world, scenario, schedule, check) for schedule in schedules])


def _checked(
    make_world: MakeWorld,
    scenario: Scenario,
    schedule: Schedule,
    check: Check,
) -> World:
    worlds: list[World] = []

    def remembered(schedule: Schedule) -> World:
        worlds.append(make_world(schedule))
        return worlds[-1]

    try:
        world = play(remembered, scenario, schedule)
        check(world)
    except Exception as error:
        moments = worlds[-1].moments if worlds else []
        raise NotProved(
            f"not survived: {schedule.describe(moments) or 'a play without faults'}",
            remedy=f"Repeat it with {schedule!r}.",
        ) from error
    return world
