"""Schedules, as the stores keep them: what is started again and again, and when next.

The law of this file: a schedule's next tick is a number in its row. Whoever starts a tick names the number it found,
and in one step the run is stored and the number moves on; whoever comes second changes nothing. So a tick is started
once, by whichever node comes first, and never lost.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from flowtx_engine.journal.records import Write

CatchUp = Literal["latest", "all", "none"]
"""What becomes of ticks that no node was there for."""
Overlap = Literal["allow", "skip"]
"""What becomes of a tick while the run of an earlier one is not finished."""


class CronSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule's row; instants are seconds since the epoch.

    ``cron`` is read in ``timezone`` (a name like ``Europe/Berlin``). ``next_at`` is the next tick, None when there is
    none. ``last_at`` and ``last_gid`` are the last tick that was started and its run. ``skipped_count`` counts the
    ticks that were not started.
    """

    name: str
    workflow: str
    version: str
    input: bytes
    cron: str
    timezone: str
    catch_up: CatchUp
    overlap: Overlap
    next_at: float | None
    created_at: float
    updated_at: float
    last_at: float | None = None
    last_gid: str = ""
    skipped_count: int = 0


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule moving on, from the tick ``at`` it stands at to ``next_at``.

    ``write`` begins the run of the tick ``started_at``; None when none is started. ``skipped_count`` ticks are not.
    """

    name: str
    at: float
    next_at: float | None
    now_at: float
    skipped_count: int = 0
    started_at: float | None = None
    write: Write | None = None


def moved_on(schedule: CronSchedule, tick: Tick) -> CronSchedule:
    """The schedule as a tick leaves it."""
    moved = msgspec.structs.replace(
        schedule,
        next_at=tick.next_at,
        updated_at=tick.now_at,
        skipped_count=schedule.skipped_count + tick.skipped_count,
    )
    if tick.write is None:
        return moved
    return msgspec.structs.replace(moved, last_at=tick.started_at, last_gid=tick.write.gid)


class ScheduleStore(Protocol):
    """What a ``Store`` does with schedules."""

    def put_schedule(self, schedule: CronSchedule) -> None:
        """Keep a schedule, in the place of the one of its name if there is one."""
        ...

    def delete_schedule(self, name: str) -> bool:
        """Forget a schedule; False when there is none of this name. Runs that were started go on."""
        ...

    def schedules(self) -> list[CronSchedule]:
        """All schedules, by their names."""
        ...

    def due_schedules(self, now_at: float) -> tuple[list[CronSchedule], float | None]:
        """Those with a ``next_at`` at or before ``now_at``, by their names, and the earliest ``next_at`` after it."""
        ...

    def tick(self, tick: Tick) -> bool:
        """Move a schedule on and store the run of its tick, all in one step.

        False, and nothing changes, unless the schedule is there and stands at ``tick.at``. A run whose gid is there
        already counts as started: ``last_at`` and ``last_gid`` become its.
        """
        ...
