"""Driving: brings one transaction on until it ends, or rests long enough to be parked.

The law of this file: one loop, one direction. Outcomes become facts, facts are fed to the kernel and written to the
journal in one append, and only what is durable leaves the process: no call starts before the append that led to it has
returned. If the append meets a conflict, somebody else was first: the kernel is thrown away and rebuilt from the
journal, and what is in flight goes on.
"""

from __future__ import annotations

import trio

from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.codec import is_encoded, refuse_encoded_row
from flowtx_engine.journal.errors import ConflictError
from flowtx_engine.journal.pieces import is_in_pieces
from flowtx_engine.journal.records import RowChange, Transaction, Write, changed
from flowtx_engine.journal.resolve import append_surely
from flowtx_engine.kernel.events import Event, External, Parked, lean
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked
from flowtx_engine.kernel.view import RunView, view_of
from flowtx_engine.runtime.ahead import Ahead
from flowtx_engine.runtime.flight import Flights
from flowtx_engine.runtime.happened import Bell, Happened, Put, takes
from flowtx_engine.runtime.history import event_of, row_of
from flowtx_engine.runtime.judge import fact_of
from flowtx_engine.runtime.live_run import LiveRun
from flowtx_engine.runtime.prefetch import Prefetch, history_of
from flowtx_engine.runtime.row import change_of
from flowtx_engine.runtime.speech import speak_for
from flowtx_engine.runtime.stuck import LostError, TooLongError
from flowtx_engine.runtime.tools import Tools


class Driver:
    """One active transaction."""

    def __init__(
        self,
        tools: Tools,
        workflow: AnyWorkflow,
        transaction: Transaction,
        first: Event | None,
        *,
        ahead: Ahead | None = None,
        prefetch: Prefetch | None = None,
    ) -> None:
        """``first`` is the event of a transaction that was created just now; None reads the journal, or ``prefetch``.

        With ``ahead``, what the run waits for when it is read is due now: every attempt, and the timers up to then.
        """
        self.transaction = transaction
        self.is_resting = False
        self._tools = tools
        self._bell = Bell()
        self._flights = Flights(tools, self._bell)
        self._run = LiveRun(workflow, transaction, self._flights, tools.clock)
        self._first = first
        self._prefetch = prefetch
        self._ahead = ahead
        self._external: list[Put] = []
        self._closing = False
        self._finished = False
        self._read_again = False
        self._is_writing = False

    # -- what the engine uses

    @property
    def parent(self) -> str:
        """Whom to tell, when the run rests, that it has a result: the gid of its parent, "" for nobody."""
        has_result = self.transaction.is_final or self.transaction.result is not None
        return self._run.kernel.parent if has_result else ""

    @property
    def kernel(self) -> Kernel | None:
        """The run as the journal has it; None while something more is being written down."""
        return None if self._is_writing or self._first is not None else self._run.kernel

    async def run(self) -> None:
        """Drive until the transaction ends, is parked, or the engine closes.

        Raises one of ``STUCK`` when only other code can bring the run on, ``LostError`` when another node drives it.
        """
        speak_for(self.transaction.gid)
        try:
            async with trio.open_nursery() as nursery:
                await self._begin()
                if await self._is_put_back():
                    return
                while await self._go_on(nursery):
                    pass
                nursery.cancel_scope.cancel()
        finally:
            self._finish()
            self._run.kernel.close()

    async def put(self, fact: External) -> bool:
        """Append something from outside to the run's journal; True once it is durable, False if the run was over."""
        if self._finished:
            return False
        put = Put(fact)
        self._external.append(put)
        self._stir()
        await put.answered.wait()
        return put.is_durable

    def view(self) -> RunView:
        """Where the run stands; "new" while it is being read from the journal."""
        return view_of(self._run.kernel, in_flight=self._flights)

    def nudge(self) -> None:
        """Somebody else appended to the journal: read it."""
        self._read_again = True
        self._stir()

    def close(self) -> None:
        """Start no more calls; ``run`` returns when those in flight are done."""
        self._closing = True
        self._bell.ring()

    def _stir(self) -> None:
        """There is something to do: whoever asks for the next rest from now on waits until it is done."""
        self.is_resting = False
        self._bell.ring()

    # -- the loop

    async def _go_on(self, nursery: trio.Nursery) -> bool:
        """One turn: start what is due, wait until something happens, write it down. False when there is no more."""
        # What the first event, or what was written past a driver, has led to: nobody has written that down yet.
        notes = self._run.feed_notes()
        # The write that begins it again gives the row back; until then it is this node's.
        begins_again = bool(self._run.kernel.beginning) and self.transaction.owner == self._tools.node
        if (notes or begins_again) and not await self._append(notes):
            return True
        if self._run.kernel.ended is not None or self._run.kernel.beginning:
            return self._finish()
        if await self._start_due(nursery):
            return True
        if self._is_idle():
            if self._closing:
                return self._finish()
            due_at = self._run.next_due_at()
            if due_at is None or due_at > self._tools.clock.now_at():
                self._rest()
            if self._is_far(due_at):
                if not await self._park():
                    return True  # what somebody else wrote may have ended the run
                if self._is_idle() and self.transaction.owner != self._tools.node:
                    return self._finish()
        await self._wait()
        self.is_resting = False
        if self._read_again:
            await self._catch_up()
        facts = self._take_facts()
        if facts:
            await self._write(facts)
        return True

    def _is_idle(self) -> bool:
        return not (self._flights or self._flights.has_outcomes or self._external or self._read_again)

    def _finish(self) -> bool:
        """From here on nothing from outside is taken; whoever is still waiting is told so. Always False."""
        self._finished = True
        for put in self._external:
            put.answered.set()
        self._external.clear()
        return False

    async def _is_put_back(self) -> bool:
        """Woken by something from outside before its limit had room for it: it goes on waiting, as nobody's."""
        if not self._run.kernel.waits_for_place:
            return False
        row, node = self.transaction, self._tools.node
        is_put_back = await self._tools.journal.ask_node(lambda store: store.put_back(row.gid, node))
        if is_put_back:
            self.transaction = changed(row, RowChange(updated_at=row.updated_at, owner="", wake_at=None))
        return is_put_back

    async def _begin(self) -> None:
        """Bring the kernel to where the journal is."""
        if self._first is not None:
            self._run.feed(self._first)
            self._first = None
        else:
            await self._load()
        if self._ahead is not None:
            self._run.hasten(self._ahead)

    async def _load(self) -> None:
        await self._check_readable()
        rows = await history_of(self._tools.journal, self.transaction.gid, self._prefetch)
        self._prefetch = None
        self._run.rebuild(self.transaction, [event_of(row) for row in rows])

    async def _check_readable(self) -> None:
        """A claimed row is as it is stored if its input is large, or its codec failed.

        Raises ``UnreadablePayload`` if it still does.
        """
        if is_encoded(self.transaction.input) or is_in_pieces(self.transaction.input):
            self.transaction = await self._must_have()
            refuse_encoded_row(self.transaction)

    async def _must_have(self) -> Transaction:
        row = await self._tools.journal.transaction(self.transaction.gid)
        if row is None:
            raise LostError(f"transaction {self.transaction.gid} is gone from the journal")
        return row

    async def _catch_up(self) -> None:
        """Read what others appended: on a conflict, or because somebody said so."""
        self._read_again = False
        row = self.transaction = await self._must_have()
        await self._load()
        if row.is_final:
            self._tools.watch.tell(row)
        elif row.owner != self._tools.node:  # nobody's, too: another node has parked it, and whoever is next claims it
            raise LostError(f"transaction {row.gid} belongs to {row.owner or 'nobody'} now")

    async def _wait(self) -> None:
        """Until an outcome, something from outside, or the next due instant."""
        if self._flights.has_outcomes or self._external or self._read_again:
            return
        due_at = self._run.next_due_at()
        timeout_s = float("inf") if due_at is None else max(0.0, due_at - self._tools.clock.now_at())
        await self._bell.wait(timeout_s)

    # -- calls

    async def _start_due(self, nursery: trio.Nursery) -> bool:
        """Start what is due; True when something had to be written down first, so that there is more to do.

        That is what must be known of steps that may be made once only, before they are.
        """
        due = [] if self._closing else self._run.due()
        happened = self._run.of_once_steps(due)
        if happened:
            for one in await self._write(happened):
                asked = self._run.unstarted(one.address)
                if asked is not None:
                    self._start(asked, nursery)
            return True
        for asked in due:
            if not self._run.waits_for_its_step(asked):
                self._start(asked, nursery)
        return False

    def _start(self, asked: Asked, nursery: trio.Nursery) -> None:
        may_have_happened = self._run.start(asked)
        first_seq = self._run.kernel.first_seq
        self._flights.start(nursery, self.transaction, asked, round=first_seq, may_have_happened=may_have_happened)

    # -- facts

    def _take_facts(self) -> list[Happened]:
        """Everything that happened since: from outside first, then outcomes, then timers."""
        happened = [Happened(address="", fact=put.fact, put=put) for put in self._external]
        self._external.clear()
        now_at, dice = self._tools.clock.now_at(), self._tools.dice.random
        bytes_max = self._tools.limits.payload_bytes_max
        for address, outcome in self._flights.take_outcomes():
            asked = self._run.kernel.asked(address)
            if asked is not None:
                fact, data = lean(fact_of(asked, outcome, now_at=now_at, dice=dice(), bytes_max=bytes_max))
                happened.append(Happened(address=address, fact=fact, data=data))
        happened.extend(self._run.fired())
        return happened

    async def _write(self, happened: list[Happened]) -> list[Happened]:
        """Feed what happened and make it durable with all it led to; what that asked for starts only afterwards.

        Returns what was written; the rest came too late.
        """
        while True:
            written = [one for one in happened if takes(self._run.kernel, one)]
            events = [event for one in written for event in self._feed_if_taken(one)]
            if not events:
                break
            if await self._append(events + self._run.feed_notes()):
                break
            # Somebody else was first, and the kernel is another one now: offer it the same facts again.
        for one in written:
            self._tools.observers.wrote(self.transaction, one.address, one.fact)
        for one in happened:
            if one.put is not None:
                one.put.is_durable = one in written or self._run.kernel.has_heard(one.fact)
                one.put.answered.set()
        return written

    def _feed_if_taken(self, one: Happened) -> list[Event]:
        """An earlier fact of the same turn may have ended the run or given the address up."""
        return [self._run.feed_new(one.address, one.fact, one.data)] if takes(self._run.kernel, one) else []

    async def _append(self, events: list[Event]) -> bool:
        """Make events durable; False when somebody else was first, with the kernel rebuilt from what they wrote."""
        gid, limits, kernel = self.transaction.gid, self._tools.limits, self._run.kernel
        if kernel.event_count > limits.journal_events_max and kernel.ended is None:
            raise TooLongError(
                f"transaction {gid}: its journal has reached {limits.journal_events_max} events (journal_events_max)"
            )
        # A run that begins again gets a fresh journal: this write ends the old one, and the store lets go of it.
        beginning = self._run.beginning()
        events = events + beginning
        change = change_of(
            self.transaction,
            kernel,
            events,
            next_due_at=self._run.next_due_at(),
            owner="" if self._parks() else self._tools.node,
        )
        write = Write(
            gid=gid,
            rows=tuple(row_of(gid, event) for event in events),
            change=change,
            keeps_from=beginning[0].seq if beginning else None,
        )
        self._is_writing = True
        try:
            if not await self._is_first(write):
                # Not while the conflict is handled: what the workflow raises would have it as its context.
                await self._catch_up()
                return False
        finally:
            self._is_writing = False
        if change is not None:
            self.transaction = changed(self.transaction, change)
        if self.transaction.is_final or self._run.has_answered():
            self._tools.watch.tell(self.transaction)
        return True

    async def _is_first(self, write: Write) -> bool:
        """False when somebody else was first."""
        limits = self._tools.limits
        try:
            await append_surely(
                self._tools.journal, write, pause_s=limits.journal_pause_s, pause_max_s=limits.journal_pause_max_s
            )
        except ConflictError:
            return False
        return True

    # -- resting

    def _rest(self) -> None:
        self.is_resting = True
        self._tools.watch.tell(self.transaction)

    def _is_far(self, due_at: float | None) -> bool:
        return due_at is None or due_at > self._tools.clock.now_at() + self._tools.limits.park_after_s

    def _parks(self) -> bool:
        """True when nothing is on its way and nothing is due soon, so the run can leave memory with this append."""
        idle = not (self._flights or self._flights.has_outcomes or self._external or self._closing)
        return idle and self._run.kernel.ended is None and self._is_far(self._run.next_due_at())

    async def _park(self) -> bool:
        """Give the transaction back until it is due, unless the last append has; False when somebody was first."""
        if self.transaction.owner != self._tools.node:
            return True
        return await self._append([self._run.feed_new("", Parked(wake_at=self._run.next_due_at()))])

    def __repr__(self) -> str:
        return f"<Driver of {self.transaction!r}: {self._run.kernel!r}, {len(self._flights)} in flight>"
