"""Cron schedules: a workflow that is started again and again, once a tick on all nodes together.

The law of this file: a tick has one gid, ``schedule/<name>/<its instant>``, and one step in the store begins its run
and moves the schedule on. So nodes need not agree on anything, a crash between two steps cannot be, and a tick whose
answer was lost is found to be done.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import trio

from flowtx_dsl.errors import FlowtxError, WorkflowError
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.codec import is_encoded
from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.journal.records import Write
from flowtx_engine.journal.schedules import CatchUp, CronSchedule, Overlap, Tick
from flowtx_engine.runtime.cron import Cron
from flowtx_engine.runtime.registry import Registry
from flowtx_engine.runtime.starting import beginning_of, first_write
from flowtx_engine.runtime.tools import Tools

log = logging.getLogger("flowtx.schedules")

NAME_MAX = 90
"""The longest name of a schedule, in characters: it is part of a gid."""
MISSED_AFTER_S = 60.0
"""A tick that is found later than this was missed, for schedules that start no missed ones."""
COUNTED_MAX = 1_000
"""So many ticks that are not started are counted at once; of a longer absence only the end is told."""
CATCH_UPS: tuple[CatchUp, ...] = ("latest", "all", "none")
OVERLAPS: tuple[Overlap, ...] = ("allow", "skip")


class NoSuchSchedule(FlowtxError):
    """No schedule has this name."""


def gid_of(name: str, at: float) -> str:
    """The gid of a tick's run: ``schedule/nightly/2026-11-25T03:00:00Z``."""
    return f"schedule/{name}/{datetime.fromtimestamp(at, UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}"


def new_schedule(
    name: str,
    workflow: AnyWorkflow,
    args: tuple[object, ...],
    *,
    cron: str,
    timezone: str,
    catch_up: CatchUp,
    overlap: Overlap,
    now_at: float,
    before: CronSchedule | None,
) -> CronSchedule:
    """A schedule's row; ``before`` is the one that has its name, whose next tick stays if the times are the same.

    Raises ``WorkflowError`` or ``PayloadError`` for what could not be started.
    """
    if not 0 < len(name) <= NAME_MAX or "\0" in name:
        raise WorkflowError(f"a schedule's name has 1 to {NAME_MAX} characters, got {len(name)}")
    if catch_up not in CATCH_UPS:
        raise WorkflowError(f"schedule {name}: catch_up is {catch_up!r}, expected one of {', '.join(CATCH_UPS)}")
    if overlap not in OVERLAPS:
        raise WorkflowError(f"schedule {name}: overlap is {overlap!r}, expected one of {', '.join(OVERLAPS)}")
    payload = workflow.signature.encode_args(args)
    beginning_of(workflow, payload, now_at=now_at, starts_at=None)
    schedule = CronSchedule(
        name=name,
        workflow=workflow.name,
        version=workflow.version,
        input=payload,
        cron=cron,
        timezone=timezone,
        catch_up=catch_up,
        overlap=overlap,
        next_at=Cron(cron, timezone).next_after(now_at),
        created_at=now_at,
        updated_at=now_at,
    )
    if before is None:
        return schedule
    kept = msgspec.structs.replace(
        schedule,
        created_at=before.created_at,
        last_at=before.last_at,
        last_gid=before.last_gid,
        skipped_count=before.skipped_count,
    )
    has_same_times = (before.cron, before.timezone) == (cron, timezone) and before.next_at is not None
    return msgspec.structs.replace(kept, next_at=before.next_at) if has_same_times else kept


class Ticker:
    """One node's part in starting ticks."""

    def __init__(self, tools: Tools, registry: Registry, *, on_start: Callable[[], None]) -> None:
        """``on_start`` is told that a run was stored that is due."""
        self._tools = tools
        self._registry = registry
        self._on_start = on_start
        self._look = trio.Event()
        self.is_on = True
        """False: no tick is started."""

    def look(self) -> None:
        """There is a new schedule, or the time has moved: look now instead of at the next poll."""
        self._look.set()

    async def serve(self) -> None:
        """Start what is due, until cancelled."""
        while True:
            self._look = trio.Event()
            limits = self._tools.limits
            pause_s = limits.poll_s
            try:
                next_at = await self.start_due() if self.is_on else None
                if next_at is not None:
                    pause_s = min(pause_s, max(0.0, next_at - self._tools.clock.now_at()))
            except JournalUnavailable as error:
                log.warning("the journal could not be searched for due schedules: %s", error)
                pause_s = min(pause_s, limits.journal_pause_max_s)
            with trio.move_on_after(pause_s):
                await self._look.wait()

    async def start_due(self) -> float | None:
        """Start every tick that is due; when the next one is, of any schedule whose code is loaded here."""
        while True:
            now_at = self._tools.clock.now_at()
            due, next_at = await self._tools.journal.ask_node(lambda store: store.due_schedules(now_at))  # noqa: B023 - called at once
            moved = [await self._start(schedule, now_at) for schedule in due]
            if not any(moved):
                return next_at

    async def _start(self, schedule: CronSchedule, now_at: float) -> bool:
        """Start one schedule's ticks; False when it stays where it is, for want of code or by a fault of its own."""
        if (schedule.workflow, schedule.version) not in self._registry.keys:
            return False
        if is_encoded(schedule.input):
            log.error("schedule %s: its input is encoded, and there is no codec here that decodes it", schedule.name)
            return False
        try:
            tick = await self._tick_of(schedule, now_at)
        except FlowtxError as error:  # its code or its row is not what it was when it was accepted
            log.error("schedule %s cannot be started: %s", schedule.name, error)  # noqa: TRY400 - the text says it all
            return False
        was_first = await self._tools.journal.ask_node(lambda store: store.tick(tick))
        if was_first and tick.write is not None:
            self._on_start()
        return True

    async def _tick_of(self, schedule: CronSchedule, now_at: float) -> Tick:
        """What to do at once about everything that is due."""
        assert schedule.next_at is not None, schedule
        cron = Cron(schedule.cron, schedule.timezone)
        first_at = schedule.next_at
        if schedule.catch_up == "all":
            at, next_at, skipped_count = first_at, cron.next_after(first_at), 0
        else:
            at = max(first_at, cron.last_before(now_at + 1e-6))
            next_at = cron.next_after(max(at, now_at))
            skipped_count = _count_between(cron, first_at, at)
        is_missed = schedule.catch_up == "none" and now_at - at > MISSED_AFTER_S
        if is_missed or await self._overlaps(schedule):
            return Tick(
                name=schedule.name, at=first_at, next_at=next_at, now_at=now_at, skipped_count=skipped_count + 1
            )
        return Tick(
            name=schedule.name,
            at=first_at,
            next_at=next_at,
            now_at=now_at,
            skipped_count=skipped_count,
            started_at=at,
            write=self._write_of(schedule, at, now_at),
        )

    async def _overlaps(self, schedule: CronSchedule) -> bool:
        if schedule.overlap == "allow" or not schedule.last_gid:
            return False
        last = await self._tools.journal.transaction(schedule.last_gid)
        return last is not None and not last.is_final

    def _write_of(self, schedule: CronSchedule, at: float, now_at: float) -> Write:
        """The run's first write. It is nobody's: whichever node comes first claims it, and its time is the tick's."""
        workflow = self._registry.find(schedule.workflow, schedule.version)
        begins = beginning_of(workflow, schedule.input, now_at=now_at, starts_at=at)
        write, _, _ = first_write(
            schedule.input,
            gid=gid_of(schedule.name, at),
            pattern="workflow",
            options=b"{}",
            began=begins.began,
            owner="",
            wake_at=begins.wake_at,
            now_at=now_at,
            place=begins.place,
        )
        return write


def _count_between(cron: Cron, first_at: float, at: float) -> int:
    """How many ticks there are from the first to before the one at an instant, as far as they are counted."""
    if first_at >= at:
        return 0
    ticks = itertools.chain([first_at], cron.after(first_at))
    return sum(1 for _ in itertools.takewhile(lambda tick: tick < at, itertools.islice(ticks, COUNTED_MAX)))
