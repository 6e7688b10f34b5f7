"""Node: one engine process among those on a database. Holds the drivers, says that it is alive, takes up due work.

The law of this file: every active transaction has one driver, in one nursery; a driver that fails hurts its own
transaction only. What a node owns and does not drive is stuck, and it is known why.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import cast

import trio

from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.errors import JournalError, JournalUnavailable
from flowtx_engine.journal.journal import JournalStatistics
from flowtx_engine.journal.places import earlier
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import Event
from flowtx_engine.runtime.admission import Admission
from flowtx_engine.runtime.ahead import Ahead
from flowtx_engine.runtime.drive import Driver
from flowtx_engine.runtime.prefetch import Prefetch
from flowtx_engine.runtime.registry import Registry
from flowtx_engine.runtime.retention import Pruner
from flowtx_engine.runtime.schedules import Ticker
from flowtx_engine.runtime.stuck import STUCK, LostError, say_stuck
from flowtx_engine.runtime.sweeping import sweep_for_ever
from flowtx_engine.runtime.tools import Tools

log = logging.getLogger("flowtx.node")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatistics:
    """``active_count`` transactions are driven, and ``stuck_count`` wait for other code."""

    active_count: int
    stuck_count: int
    journal: JournalStatistics


class Node:
    """The drivers of one process and their common life."""

    def __init__(self, tools: Tools, registry: Registry, hasten: Callable[[str], Awaitable[None]]) -> None:
        """``hasten`` lets the parent of a child that has returned or ended look at it now."""
        self.registry = registry
        self.active: dict[str, Driver] = {}
        self.stuck: dict[str, Exception] = {}
        self._tools = tools
        self._hasten = hasten
        self._drivers: trio.Nursery | None = None
        self._drivers_done = trio.Event()
        self._closing = False
        self._gone = trio.Event()
        self._look = trio.Event()
        self._lost_answer = False
        self._wants_room = False
        self._admission = Admission(tools, registry)
        self._declared: list[tuple[str, str]] = []
        self.ticker = Ticker(tools, registry, on_start=self.look)
        self.pruner = Pruner(tools, is_on=lambda: self.recovers)
        self._claimed_while_active: set[str] = set()
        self.recovers = True
        """False: nothing that is due by time is taken up by itself; ``look`` must be called when this changes."""
        self.before_run: Callable[[Driver], Awaitable[None]] | None = None
        """Is awaited before a driver begins."""

    @property
    def is_open(self) -> bool:
        """True while it takes new work."""
        return self._drivers is not None and not self._closing

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the node until it is cancelled: drive, recover, beat. Cancelling it is a crash; see ``shut_down``."""
        async with trio.open_nursery() as nursery:
            self._tools.journal.node = self._tools.node
            await nursery.start(self._tools.journal.serve)
            await self._beat()
            try:
                async with trio.open_nursery() as drivers:
                    self._drivers = drivers
                    drivers.start_soon(self._beat_for_ever)
                    drivers.start_soon(sweep_for_ever, self._tools)
                    drivers.start_soon(self._claim_for_ever)
                    drivers.start_soon(self.ticker.serve)
                    drivers.start_soon(self.pruner.serve)
                    task_status.started()
            finally:
                self._drivers = None
                self._drivers_done.set()

    async def shut_down(self) -> None:
        """Take no more work, let calls in flight end within the grace period, give everything else back."""
        self._closing = True
        with trio.move_on_after(self._tools.limits.grace_s):
            for driver in list(self.active.values()):
                driver.close()
            while self.active:
                await self.wait_gone()
        if self._drivers is not None:
            self._drivers.cancel_scope.cancel()
            await self._drivers_done.wait()
        try:
            await self._tools.journal.release(self._tools.node, self._tools.clock.now_at())
        except JournalUnavailable as error:
            # Nothing is lost by it, and whoever leaves the engine because of an error of his own should get that one.
            log.warning("what this node had could not be given back; others take it up in two heartbeats: %s", error)

    def statistics(self) -> EngineStatistics:
        """What this node holds just now, and what its journal has done."""
        return EngineStatistics(
            active_count=len(self.active), stuck_count=len(self.stuck), journal=self._tools.journal.statistics()
        )

    async def wait_gone(self) -> None:
        """Until another driver is done: its transaction has ended, is parked, stuck, or driven elsewhere."""
        if self._gone.is_set():
            self._gone = trio.Event()
        await self._gone.wait()

    def look(self) -> None:
        """Something may have become due: look now instead of at the next poll."""
        self._look.set()

    def answer_was_lost(self) -> None:
        """An append of a new transaction had no answer: it may be stored after all, so look for it."""
        self._lost_answer = True
        self._look.set()

    def can_take(self, row: Transaction) -> bool:
        """True when this node may drive a transaction that belongs to nobody."""
        has_room = self.is_open and len(self.active) < self._tools.limits.active_max
        is_loaded = (row.workflow, row.version) in self.registry.keys
        return has_room and is_loaded and row.gid not in self.active and row.gid not in self.stuck

    def told(self, row: Transaction, *, takes_over: bool) -> None:
        """Somebody here appended to a transaction from outside: see that it is driven on, and tell who waits."""
        driver = self.active.get(row.gid)
        if driver is not None:
            driver.nudge()
        elif takes_over:
            self._drive_claimed(row)
        else:
            self.look()
        if row.is_final:
            self._tools.watch.tell(row)

    def drive(
        self,
        workflow: AnyWorkflow,
        row: Transaction,
        first: Event | None,
        *,
        ahead: Ahead | None = None,
        prefetch: Prefetch | None = None,
    ) -> Driver:
        """Drive a transaction that this node owns; ``first`` and what follows as for ``Driver``."""
        assert self._drivers is not None, "serve() runs"
        driver = Driver(self._tools, workflow, row, first, ahead=ahead, prefetch=prefetch)
        self.active[row.gid] = driver
        self.stuck.pop(row.gid, None)
        self._tools.observers.driven(row)
        self._drivers.start_soon(self._drive_to_rest, driver)
        return driver

    async def _drive_to_rest(self, driver: Driver) -> None:
        gid = driver.transaction.gid
        try:
            if self.before_run is not None:
                await self.before_run(driver)
            await driver.run()
        except* LostError:
            log.info("transaction %s is driven by another node now", gid)
        except* JournalUnavailable as errors:
            # Nothing is wrong with the run: it is still this node's, and is taken up again when the database answers.
            log.warning("transaction %s could not be read: %s", gid, _first_leaf(errors))
            self.answer_was_lost()
        except* Exception as errors:
            await self._note_stuck(driver, errors)
        finally:
            if self.active.get(gid) is driver:
                del self.active[gid]
            if gid in self._claimed_while_active:
                self._claimed_while_active.discard(gid)
                self.answer_was_lost()
            self._tell_parent(driver.parent)
            # Who waited for this driver looks at the journal from now on: another node may bring the run to its end.
            self._tools.watch.tell(driver.transaction)
            self._tools.observers.rested(driver.transaction, self.stuck.get(gid))
            self._gone.set()
            if (
                self._wants_room
                or driver.transaction.wake_at is not None
                or self.registry.is_limited(driver.transaction.workflow)
            ):
                self._look.set()

    def _tell_parent(self, gid: str) -> None:
        """A child has a result: wake its parent, unless it is here and waits for the child just now."""
        parent = self.active.get(gid)
        waits_here = parent is not None and not parent.is_resting
        if gid and not waits_here and self._drivers is not None and not self._closing:
            self._drivers.start_soon(self._hasten, gid)

    async def _note_stuck(self, driver: Driver, errors: ExceptionGroup[Exception]) -> None:
        """A run that cannot go on keeps its owner and waits for other code, that is, for a restart."""
        gid = driver.transaction.gid
        error = _first_leaf(errors)
        if isinstance(error, STUCK):
            log.error("transaction %s cannot go on: %s", gid, error)
        else:
            log.error("transaction %s: the engine failed while driving it", gid, exc_info=errors)
        try:
            await say_stuck(self._tools, gid, error)
        except JournalError as unwritten:  # somebody else wrote, the database is away, or the payloads cannot be read
            log.warning("transaction %s: why it waits could not be written: %s", gid, unwritten.message)
        self.stuck[gid] = error

    # -- beating and claiming

    async def _beat(self) -> None:
        now_at = self._tools.clock.now_at()
        await self._tools.journal.beat(self._tools.node, now_at, now_at + 2 * self._tools.limits.heartbeat_s)

    async def _beat_for_ever(self) -> None:
        """Say that this node is alive, and look for what others appended to its transactions."""
        since_at = self._tools.clock.now_at()
        while True:
            await trio.sleep(self._tools.limits.heartbeat_s)
            try:
                await self._beat()
                looked_at = self._tools.clock.now_at()
                # A row's nudged_at is read from another machine's clock: look a little further back.
                for gid in await self._tools.journal.nudged(
                    self._tools.node, since_at - self._tools.limits.heartbeat_s
                ):
                    if gid in self.active:
                        self.active[gid].nudge()
                since_at = looked_at
            except JournalUnavailable as error:
                log.warning("the journal did not take a heartbeat: %s", error)

    async def _declare(self) -> None:
        """Say which code is loaded here, when it has changed: others tell by it what waits for code."""
        keys = self.registry.keys
        if keys != self._declared:
            await self._tools.journal.ask_node(lambda store: store.declare(self._tools.node, keys))
            self._declared = keys

    async def _adopt_lost(self) -> None:
        """Drive what is stored under this node's name but driven by nobody, after an append whose answer was lost."""
        if not self._lost_answer:
            return
        owned = await self._tools.journal.owned(self._tools.node)
        self._lost_answer = False
        for gid in owned:
            if gid in self.active or gid in self.stuck:
                continue
            row = await self._tools.journal.transaction(gid)
            if row is not None and row.owner == self._tools.node and not row.is_final and gid not in self.active:
                self._drive_claimed(row)

    async def _claim_for_ever(self) -> None:
        """Take due transactions that nobody drives: after a crash, and whenever a parked one's time has come."""
        while not self._closing:
            self._look = trio.Event()
            self.ticker.is_on = self.recovers
            if not self.recovers:
                await self._look.wait()
                continue
            pause_s = self._tools.limits.poll_s
            try:
                await self._declare()
                await self._adopt_lost()
                # While more may be due than there is room for, every end is a reason to look again.
                self._wants_room = self._room <= 0
                admitted = await self._admission.admit(self._room)
                self._take_all(admitted.transactions)
                if await self._claim() == self._tools.limits.claim_max:
                    continue
                next_at = earlier(admitted.next_at, await self._tools.journal.next_wake_at(self.registry.keys))
                due_in_s = None if next_at is None else next_at - self._tools.clock.now_at()
                # What is due and finds no room is no reason to look at once: an end is.
                if due_in_s is not None and (due_in_s > 0 or not self._wants_room):
                    pause_s = min(pause_s, max(0.0, due_in_s))
            except JournalUnavailable as error:
                log.warning("the journal could not be searched for due transactions: %s", error)
                self._lost_answer = True  # what was claimed may be ours all the same
                pause_s = min(pause_s, self._tools.limits.journal_pause_max_s)
            with trio.move_on_after(pause_s):
                await self._look.wait()

    async def _claim(self) -> int:
        room = self._room
        if room <= 0 or not self.registry.keys:
            return 0
        claimed = await self._tools.journal.claim(
            self._tools.node, self._tools.clock.now_at(), room, self.registry.keys
        )
        self._take_all(claimed)
        self._wants_room = len(claimed) == room
        return len(claimed)

    @property
    def _room(self) -> int:
        return min(self._tools.limits.claim_max, self._tools.limits.active_max - len(self.active))

    def _take_all(self, claimed: Sequence[Transaction]) -> None:
        prefetch: Prefetch | None = None
        if len(claimed) > 1 and self._drivers is not None:
            # A statement and a thread for each would be half of what recovery costs.
            prefetch = Prefetch(self._tools.journal, [row.gid for row in claimed])
            self._drivers.start_soon(prefetch.read)
        for row in claimed:
            if row.gid in self.active:
                # It was parked, and its driver has not gone yet, or has something to do again. Whichever it is, what
                # the row says now must reach it, or what it leaves behind must be adopted.
                self.active[row.gid].nudge()
                self._claimed_while_active.add(row.gid)
            else:
                self._drive_claimed(row, prefetch=prefetch)

    async def take_up(self, row: Transaction, *, ahead: Ahead | None = None) -> Driver | None:
        """Drive a transaction that was claimed; None when there is nothing to drive any more."""
        if row.gid in self.active:
            # Its driver has parked it and is about to go; what it did meanwhile is in the journal.
            while row.gid in self.active:
                await self.wait_gone()
            found = await self._tools.journal.transaction(row.gid)
            if found is None or found.is_final or found.owner != self._tools.node or row.gid in self.active:
                return None
            row = found
        return self._drive_claimed(row, ahead=ahead)

    def _drive_claimed(
        self, row: Transaction, *, ahead: Ahead | None = None, prefetch: Prefetch | None = None
    ) -> Driver:
        workflow = self.registry.find(row.workflow, row.version)
        return self.drive(workflow, row, None, ahead=ahead, prefetch=prefetch)

    def __repr__(self) -> str:
        return f"<Node {self._tools.node}, {len(self.active)} active, {len(self.stuck)} stuck>"


def _first_leaf(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return error
