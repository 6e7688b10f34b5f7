"""Driving by hand: an engine whose time and rounds are in the hands of a test of some other program.

The law of this file: what time would do is done by the engine's own drivers, only earlier; nothing is done here that
could not happen by itself. A *round* is the life of one driver: from being taken up until the run rests or ends. So the
engine must park whatever waits (``park_after_s`` is 0), and what rests is nobody's.
"""

from __future__ import annotations

from collections import deque
from weakref import WeakSet

import msgspec
import trio

from flowtx_engine.journal.records import Transaction
from flowtx_engine.runtime.ahead import Ahead
from flowtx_engine.runtime.clock import MovableClock
from flowtx_engine.runtime.drive import Driver
from flowtx_engine.runtime.node import Node
from flowtx_engine.runtime.tools import Tools


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What ``cron_once`` did: for which ``gid`` ("" when nothing was due), and the ``error`` it rests with."""

    gid: str = ""
    error: str = ""


class _Wish(msgspec.Struct, frozen=True):
    wait_result: bool = False


_wish = msgspec.json.Decoder(_Wish)


class ByHand:
    """The handles of one engine; made by ``Engine.by_hand``."""

    def __init__(self, tools: Tools, node: Node) -> None:
        assert tools.limits.park_after_s == 0, "what waits must be nobody's"
        self.start_delay_s = 0.0
        """How long a submit that waits for no result takes to begin its work."""
        self._tools = tools
        self._node = node
        self._processed: deque[str] = deque()
        self._arrived = trio.Event()
        self._running: WeakSet[Driver] = WeakSet()
        self._heard: WeakSet[Driver] = WeakSet()
        self._picked: WeakSet[Driver] = WeakSet()
        self._begun: set[str] = set()
        tools.watch.hears_first = self._hear
        node.before_run = self._pause_before

    # -- what runs by itself

    @property
    def recovery_enabled(self) -> bool:
        """False: nothing that is due by time runs by itself."""
        return self._node.recovers

    @recovery_enabled.setter
    def recovery_enabled(self, enabled: bool) -> None:
        self._node.recovers = enabled
        self._node.look()

    @property
    def in_flight_count(self) -> int:
        """How many transactions are driven just now."""
        return len(self._node.active)

    async def _pause_before(self, driver: Driver) -> None:
        row = driver.transaction
        if not row.is_final:  # one that was ended from outside, by force, has no round
            self._running.add(driver)
        if row.status != "submitted" or row.gid in self._begun or driver in self._picked:
            return
        self._begun.add(row.gid)
        if self.start_delay_s and not _wish.decode(row.options).wait_result:
            await trio.sleep(self.start_delay_s)

    # -- time

    def advance(self, seconds: float) -> float:
        """Move the clock on for everything, and return the new time; what is due then runs."""
        assert isinstance(self._tools.clock, MovableClock), self._tools.clock
        self._tools.clock.advance(seconds)
        for driver in list(self._node.active.values()):
            driver.nudge()
        self._node.look()
        self._node.ticker.look()
        self._node.pruner.look()
        return self._tools.clock.now_at()

    async def cron_once(self, *, now_ahead_s: float = 0.0, due_ahead_s: float = 0.0) -> Round:
        """Do for one unfinished transaction what time would do, and return when it rests again.

        Taken is one whose wake-up is before now and ``due_ahead_s``: all its attempts and its sleeps until then are
        due, and its deadlines up to now and ``now_ahead_s``. The most overdue one is taken first; one that is being
        driven is not taken.
        """
        while any(driver.is_resting for driver in self._node.active.values()):
            await self._node.wait_gone()  # about to be parked, and due only then
        driver = await self._pick(now_ahead_s, due_ahead_s)
        if driver is None:
            return Round()
        gid = driver.transaction.gid
        self._picked.add(driver)
        while self._node.active.get(gid) is driver:
            await self._node.wait_gone()
        self._emit_once(driver, gid)
        return Round(gid=gid, error=self._error_of(driver))

    async def _pick(self, now_ahead_s: float, due_ahead_s: float) -> Driver | None:
        now_at, keys = self._tools.clock.now_at(), self._node.registry.keys
        # Shielded, because what was claimed must be driven, whoever asked for it and went away.
        with trio.CancelScope(shield=True):
            for row in await self._tools.journal.claim(self._tools.node, now_at + due_ahead_s, 1, keys):
                ahead = Ahead(
                    deadlines_until_at=now_at + now_ahead_s, sleeps_until_at=now_at + max(now_ahead_s, due_ahead_s)
                )
                return await self._node.take_up(row, ahead=ahead)
        return None

    def _error_of(self, driver: Driver) -> str:
        row = driver.transaction
        stuck = self._node.stuck.get(row.gid)
        if stuck is not None:
            return str(stuck)
        return "" if row.is_final else row.last_error

    # -- rounds

    async def processed(self, *, wait_s: float) -> list[str]:
        """The gids of the rounds that ended since this was last asked, in order; waits for the first of them."""
        if not self._processed:
            with trio.move_on_after(wait_s):
                await self._arrived.wait()
        self._arrived = trio.Event()
        gids = list(self._processed)
        self._processed.clear()
        return gids

    @property
    def processed_pending_count(self) -> int:
        """How many gids ``processed`` would return at once."""
        return len(self._processed)

    def _hear(self, row: Transaction) -> None:
        """A run rests or has ended: the end of its driver's round, before anybody who waits for it knows."""
        driver = self._node.active.get(row.gid)
        if driver is None or driver not in self._running:
            return
        if driver in self._picked or _counts(row):
            self._emit_once(driver, row.gid)

    def _emit_once(self, driver: Driver, gid: str) -> None:
        if driver not in self._heard:
            self._heard.add(driver)
            self._processed.append(gid)
            self._arrived.set()

    # -- beginning anew

    async def reset(self) -> None:
        """Let what is in flight rest, then forget every transaction and all else that is stored but the nodes."""
        recovered, self._node.recovers = self._node.recovers, False
        try:
            while self._node.active:
                await self._node.wait_gone()
            await self._tools.journal.empty()
            self._node.stuck.clear()
            self._processed.clear()
            self._begun.clear()
        finally:
            self.recovery_enabled = recovered


def _counts(row: Transaction) -> bool:
    """Submitting a workflow of DTM's, aborting a message and preparing anything are no rounds."""
    return row.status != "prepared" and row.pattern != "workflow" and (row.pattern, row.status) != ("msg", "failed")
