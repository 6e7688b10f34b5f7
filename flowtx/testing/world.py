"""World: the production engine in a simulated world, with crashes and restarts in one process.

The law of this file: the engine, its drivers, kernel and journal are the real ones; clock, network, dice and store are
the world's. A crash is an exception that nothing in the engine may catch, thrown at a moment of the schedule: from then
on that engine's store and network are dead, its tasks are gone, and a new engine begins on what is durable.

Run a world under trio's ``MockClock(autojump_threshold=0)``: days pass in milliseconds.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import trio

from flowtx.testing.faults import NO_FAULTS, Fault, Moment, MomentKind, Schedule
from flowtx.testing.participants import Participants
from flowtx_dsl.errors import FlowtxError, StepFault
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.calls.attempt import Attempt, Outcome, Performer
from flowtx_engine.calls.performer import Calls
from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.pieces import PIECE_BYTES, whole_rows, whole_transaction
from flowtx_engine.journal.records import Filter, Transaction, Write
from flowtx_engine.journal.schedules import Tick
from flowtx_engine.journal.store import Store, WriteResult
from flowtx_engine.journal.store_before import StoreBefore
from flowtx_engine.kernel.events import Event
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.runtime.clock import TrioClock
from flowtx_engine.runtime.engine import Engine
from flowtx_engine.runtime.history import event_of
from flowtx_engine.runtime.limits import EngineLimits

T = TypeVar("T")

LIVES_MAX = 1_000
"""A play that needs more engines than this does not make progress."""
LONE_NODE = EngineLimits(heartbeat_s=86_400.0, poll_s=86_400.0, retention_s=0)
"""A lone node need not beat often, for the world itself says when it has died, nor look often for what others did, for
there are none; what becomes due it knows. So a month passes in milliseconds. What ends is kept, for
checks to look at."""
STALL_S = 60.0
"""How long a stalled node does not beat: long past its lease."""
PLAY_MAX_S = 6 * 3600.0
"""A play of several nodes that takes longer than this, in its own time, hangs, unless the world is told otherwise."""
LONE_PLAY_MAX_S = 100 * 86_400.0
"""The same for a lone node, whose time costs nothing."""


class Crashed(BaseException):
    """The simulated process died. Not an ``Exception``: nothing in the engine may swallow it."""


class HangError(FlowtxError):
    """A play did not come to its end: a transaction hangs."""


class World:
    """One simulated world: a store, participants, a clock, and engines that come and go."""

    def __init__(
        self,
        workflows: Iterable[AnyWorkflow],
        *,
        schedule: Schedule = NO_FAULTS,
        participants: Participants | None = None,
        limits: EngineLimits | None = None,
        seed: int = 0,
        node_count: int = 1,
        play_max_s: float | None = None,
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        """``node_count`` engines share the store; the scenario speaks to the first.

        Payloads of more than ``piece_bytes`` are kept in pieces, each with a commit of its own.

        ``play_max_s`` is after how long, in the world's time, a play hangs: 6 hours with several nodes, which look at
        the store every second, and 100 days with one, unless set.
        """
        self.node_count = node_count
        self.piece_bytes = piece_bytes
        self.workflows = tuple(workflows)
        self.schedule = schedule
        self.participants = participants or Participants()
        self.limits = limits or (EngineLimits() if node_count > 1 else LONE_NODE)
        self.play_max_s = play_max_s or (PLAY_MAX_S if node_count > 1 else LONE_PLAY_MAX_S)
        self.moments: list[Moment] = []
        self.crash_count = 0
        self.store: Store = MemoryStore()
        self._dice = random.Random(seed)

    async def play(self, scenario: Callable[[Engine], Awaitable[T]]) -> T:
        """Play a scenario to its end, with a new engine after every crash, and return what it returned.

        The scenario is a client that begins again after a crash: it must be repeatable, as with gids of its own it is.
        Raises ``HangError`` when it takes longer than ``play_max_s`` of the world's time.
        """
        results: list[T] = []

        async def once(engine: Engine) -> None:
            results.append(await scenario(engine))

        with trio.move_on_after(self.play_max_s):
            async with trio.open_nursery() as others:
                for _ in range(1, self.node_count):
                    others.start_soon(self._live_for_ever)
                for _ in range(LIVES_MAX):
                    if await self._live(once):
                        others.cancel_scope.cancel()
                        return results[0]
        raise HangError(
            f"the play did not end within {self.play_max_s:g} s and {LIVES_MAX} engines: {self.crash_count} crashes, "
            f"{self.schedule.describe(self.moments) or 'no faults'}; unfinished: {self.unfinished()}"
        )

    async def _live_for_ever(self) -> None:
        """Another node, which nobody speaks to."""

        async def listen(engine: Engine) -> None:
            await trio.sleep_forever()

        while True:
            await self._live(listen)

    async def _live(self, scenario: Callable[[Engine], Awaitable[None]]) -> bool:
        """One engine from its start to a crash (False) or to the end of the scenario (True)."""
        life = _Life(self)
        engine = life.engine()
        lived = False
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(engine.serve)
                await scenario(engine)
                await engine.shut_down()
                lived = True
                nursery.cancel_scope.cancel()
        except* Crashed:
            self.crash_count += 1
        finally:
            life.is_over = True
            now_at = engine.now_at()
            self.store.beat(engine.node, now_at, now_at - 1)  # dead, and everybody knows
        return lived

    def pass_moment(self, kind: MomentKind, what: str) -> Fault | None:
        """The play has come to a commit or call; the fault the schedule has for it."""
        number = len(self.moments)
        self.moments.append(Moment(number, kind, what))
        return self.schedule.at(number)

    def unfinished(self) -> list[Transaction]:
        """The transactions that have not ended."""
        return self.store.transactions(Filter(unfinished=True), before_id=None, limit=1_000)

    def transactions(self) -> list[Transaction]:
        """All transactions, newest first."""
        stored = self.store.transactions(Filter(), before_id=None, limit=1_000_000)
        return [whole_transaction(self.store, row) for row in stored]

    def history(self, gid: str) -> list[Event]:
        """A transaction's journal."""
        return [event_of(row) for row in whole_rows(self.store, self.store.history(gid))]

    def check_replay(self) -> None:
        """Every journal, replayed, leads to the end it records.

        Raises ``NondeterminismError`` or ``AssertionError``.
        """
        loaded = {(workflow.name, workflow.version): workflow for workflow in self.workflows}
        for row in self.transactions():
            events = self.history(row.gid)
            kernel = Kernel(loaded[row.workflow, row.version], row.input, gid=row.gid, recorded=events)
            for event in events:
                kernel.feed(event)
            assert (kernel.ended is not None) == row.is_final, (row, kernel)
            assert kernel.ended is None or kernel.ended == events[-1].fact, (row, kernel.ended, events[-1])
            kernel.close()

    def next_seed(self) -> int:
        """A number for the dice of the next engine."""
        return self._dice.getrandbits(32)


class _Life:
    """One engine's life: what it holds dies with it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_over = False
        self.stalled_until = float("-inf")

    def engine(self) -> Engine:
        network = self.world.participants
        calls = Calls(network, grpc=network, queues=network, run_sync=_run_inline)
        return Engine(
            Journal(_Store(self, self.world.store), piece_bytes=self.world.piece_bytes),
            _Performer(self, calls),
            workflows=self.world.workflows,
            limits=self.world.limits,
            clock=TrioClock(),
            dice=random.Random(self.world.next_seed()),
        )

    def crash(self) -> Crashed:
        self.is_over = True
        return Crashed()

    def check_alive(self) -> None:
        if self.is_over:
            raise Crashed


async def _run_inline(fn: Callable[[], T]) -> T:
    """A sync step without its thread: under a clock that jumps, a thread would be jumped over."""
    await trio.lowlevel.checkpoint()
    return fn()


class _Performer:
    """The performer of one life, with the schedule's faults around every call."""

    def __init__(self, life: _Life, inner: Performer) -> None:
        self._life = life
        self._inner = inner

    async def perform(self, attempt: Attempt) -> Outcome:
        self._life.check_alive()
        what = f"{attempt.command.call.name} at {attempt.address} of {attempt.gid}, attempt {attempt.number}"
        fault = self._life.world.pass_moment("call", what)
        match fault:
            case Fault.CRASH_BEFORE:
                raise self._life.crash()
            case Fault.FAIL:
                return Outcome(kind="unknown", error=StepFault(f"{what}: nobody answered (simulated)"))
            case Fault.REPEAT:
                await self._inner.perform(attempt)
                self._life.check_alive()
            case Fault.STALL:
                self._life.stalled_until = trio.current_time() + STALL_S
            case _:
                pass
        outcome = await self._inner.perform(attempt)
        self._life.check_alive()
        if fault is Fault.STALL:
            await trio.sleep(STALL_S)
            self._life.check_alive()
        if fault is Fault.CRASH_AFTER:
            raise self._life.crash()
        if fault is Fault.LOSE_ANSWER:
            return Outcome(kind="unknown", error=StepFault(f"{what}: the answer was lost (simulated)"))
        return outcome


class _Store(StoreBefore):
    """The store as one life sees it, with the schedule's faults around every commit."""

    def __init__(self, life: _Life, inner: Store) -> None:
        super().__init__(inner)
        self._life = life

    def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        self._life.check_alive()
        what = "; ".join(f"{write.gid} {'+'.join(row.kind for row in write.rows) or 'piece'}" for write in writes)
        return self._struck(what, lambda: self._inner.commit(writes))

    def _struck(self, what: str, write: Callable[[], T]) -> T:
        """A commit, with the fault that the schedule has for it."""
        fault = self._life.world.pass_moment("commit", what)
        if fault is Fault.CRASH_BEFORE:
            raise self._life.crash()
        if fault is Fault.FAIL:
            raise JournalUnavailable("the database refused the write (simulated)")
        result = write()
        if fault is Fault.CRASH_AFTER:
            raise self._life.crash()
        if fault is Fault.LOSE_ANSWER:
            raise JournalUnavailable("the answer of the commit was lost (simulated)")
        return result

    def beat(self, node: str, now_at: float, alive_until_at: float) -> None:
        if trio.current_time() >= self._life.stalled_until:
            super().beat(node, now_at, alive_until_at)

    def tick(self, tick: Tick) -> bool:
        self._life.check_alive()
        what = f"tick {tick.started_at or 'none'} of schedule {tick.name}"
        return self._struck(what, lambda: self._inner.tick(tick))

    def close(self) -> None:
        """The world keeps its store: what a life closes is its own way to it."""

    @property
    def _store(self) -> Store:
        """A dead process asks nothing."""
        self._life.check_alive()
        return self._inner
