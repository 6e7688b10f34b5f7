"""Driving: brings one transaction on until it ends, or rests long enough to be parked.

The law of this file: one loop, one direction. Outcomes become facts, facts are fed to the kernel and written to the
journal in one append, and only what is durable leaves the process: no call starts before the append that led to it has
returned. If the append meets a conflict, somebody else was first: the kernel is thrown away and rebuilt from the
journal, and what is in flight goes on.
"""

from __future__ import annotations

import trio

from flowtx_dsl.commands import Compensate, Sleep
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.journal.codec import is_encoded, refuse_encoded_row
from flowtx_engine.journal.errors import ConflictError
from flowtx_engine.journal.records import RowChange, Transaction, Write, changed
from flowtx_engine.journal.resolve import append_surely
from flowtx_engine.kernel.events import AnyFact, Event, External, Fired, Parked
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked
from flowtx_engine.kernel.view import RunView, view_of
from flowtx_engine.runtime.ahead import Ahead
from flowtx_engine.runtime.flight import Flight, perform
from flowtx_engine.runtime.happened import BRINGS_ATTEMPT, Happened, Put, of_once_steps, takes
from flowtx_engine.runtime.history import event_of, feed_history, row_of
from flowtx_engine.runtime.judge import fact_of
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
        self._workflow = workflow
        self._kernel = self._new_kernel([])
        self._last: Event | None = None
        self._first = first
        self._prefetch = prefetch
        self._in_flight: dict[str, Flight] = {}
        # What the run waits for that is not on its way: timers, and calls that are due now or later. Kept as it
        # changes, so that a turn costs what it changes and not what a thousand branches wait for.
        self._unstarted: dict[str, Asked] = {}
        self._maybe_happened: set[str] = set()
        self._outcomes: list[tuple[str, Outcome]] = []
        self._external: list[Put] = []
        self._wake = trio.Event()
        self._ahead = ahead
        self._early: set[str] = set()
        self._closing = False
        self._finished = False
        self._read_again = False
        self._answered_count = 0
        self._is_writing = False

    # -- what the engine uses

    @property
    def parent(self) -> str:
        """Whom to tell, when the run rests, that it has a result: the gid of its parent, "" for nobody."""
        has_result = self.transaction.is_final or self.transaction.result is not None
        return self._kernel.parent if has_result else ""

    @property
    def kernel(self) -> Kernel | None:
        """The run as the journal has it; None while something more is being written down."""
        return None if self._is_writing or self._first is not None else self._kernel

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
            self._kernel.close()

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
        return view_of(self._kernel, in_flight=self._in_flight)

    def nudge(self) -> None:
        """Somebody else appended to the journal: read it."""
        self._read_again = True
        self._stir()

    def close(self) -> None:
        """Start no more calls; ``run`` returns when those in flight are done."""
        self._closing = True
        self._wake.set()

    def _stir(self) -> None:
        """There is something to do: whoever asks for the next rest from now on waits until it is done."""
        self.is_resting = False
        self._wake.set()

    # -- the loop

    async def _go_on(self, nursery: trio.Nursery) -> bool:
        """One turn: start what is due, wait until something happens, write it down. False when there is no more."""
        # What the first event, or what was written past a driver, has led to: nobody has written that down yet.
        notes = self._feed_notes()
        if notes and not await self._append(notes):
            return True
        if self._kernel.ended is not None or self._kernel.beginning:
            return self._finish()
        if self._kernel.has_once and await self._mind_once(nursery):
            return True
        self._start_due(nursery)
        if self._is_idle():
            if self._closing:
                return self._finish()
            due_at = self._next_due_at()
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
        return not (self._in_flight or self._outcomes or self._external or self._read_again)

    def _finish(self) -> bool:
        """From here on nothing from outside is taken; whoever is still waiting is told so. Always False."""
        self._finished = True
        for put in self._external:
            put.answered.set()
        self._external.clear()
        return False

    async def _is_put_back(self) -> bool:
        """Woken by something from outside before its limit had room for it: it goes on waiting, as nobody's."""
        if not self._kernel.waits_for_place:
            return False
        row, node = self.transaction, self._tools.node
        is_put_back = await self._tools.journal.ask_node(lambda store: store.put_back(row.gid, node))
        if is_put_back:
            self.transaction = changed(row, RowChange(updated_at=row.updated_at, owner="", wake_at=None))
        return is_put_back

    async def _begin(self) -> None:
        """Bring the kernel to where the journal is."""
        if self._first is not None:
            self._feed(self._first)
            self._first = None
        else:
            await self._load()
        if (ahead := self._ahead) is not None:
            self._early = {asked.address for asked in self._unstarted.values() if ahead.reaches(asked.command)}

    async def _load(self) -> None:
        await self._check_readable()
        self._kernel.close()
        events = [event_of(row) for row in await history_of(self._tools.journal, self.transaction.gid, self._prefetch)]
        self._prefetch = None
        self._kernel = self._new_kernel(events)
        self._unstarted.clear()
        feed_history(events, self._feed, gid=self.transaction.gid)
        self._answered_count = 0
        for address in self._on_their_way():
            self._unstarted.pop(address, None)
        # Whoever drove the run before may have begun any of these.
        self._maybe_happened = set(self._unstarted)

    def _on_their_way(self) -> list[str]:
        return [*self._in_flight, *(address for address, _ in self._outcomes)]

    async def _check_readable(self) -> None:
        """A claimed row is as it is stored when its codec failed; raises ``UnreadablePayload`` if it still does."""
        if is_encoded(self.transaction.input):
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
        for address in [address for address in self._in_flight if self._kernel.asked(address) is None]:
            self._in_flight[address].give_up()
        if row.is_final:
            self._tools.watch.tell(row)
        elif row.owner != self._tools.node:  # nobody's, too: another node has parked it, and whoever is next claims it
            raise LostError(f"transaction {row.gid} belongs to {row.owner or 'nobody'} now")

    async def _wait(self) -> None:
        """Until an outcome, something from outside, or the next due instant."""
        if self._outcomes or self._external or self._read_again:
            return
        due_at = self._next_due_at()
        timeout_s = float("inf") if due_at is None else max(0.0, due_at - self._tools.clock.now_at())
        with trio.move_on_after(timeout_s):
            await self._wake.wait()
        self._wake = trio.Event()

    # -- calls

    def _due(self) -> list[Asked]:
        """What may be started; a timer that is due goes first, for it may be the deadline of what else is due."""
        now_at = self._tools.clock.now_at()
        due = [asked for asked in self._unstarted.values() if self._due_at(asked) <= now_at]
        return [] if self._closing or any(isinstance(asked.command, Sleep) for asked in due) else due

    def _start_due(self, nursery: trio.Nursery) -> None:
        for asked in self._due():
            if not asked.is_once and not self._must_wait_for_its_step(asked):
                self._start(asked, nursery)

    def _start(self, asked: Asked, nursery: trio.Nursery) -> None:
        flight = self._in_flight[asked.address] = Flight(asked)
        del self._unstarted[asked.address]
        nursery.start_soon(self._perform, asked, flight.scope)

    async def _mind_once(self, nursery: trio.Nursery) -> bool:
        """Write down, of steps that may be made once only, what must be known before they are; False when nothing."""
        happened = of_once_steps(self._kernel, self._due(), busy=self._on_their_way())
        for one in await self._write(happened) if happened else ():
            asked = self._unstarted.get(one.address)
            if asked is not None:
                self._start(asked, nursery)
        return bool(happened)

    def _must_wait_for_its_step(self, asked: Asked) -> bool:
        """A compensation never overtakes a call of its own step that was given up but is still on its way."""
        return isinstance(asked.command, Compensate) and asked.address.removesuffix("/c") in self._in_flight

    async def _perform(self, asked: Asked, scope: trio.CancelScope) -> None:
        assert not isinstance(asked.command, Sleep), asked
        attempt = Attempt(
            gid=self.transaction.gid,
            address=asked.address,
            number=asked.attempt_count + 1,
            command=asked.command,
            round=self._kernel.first_seq,
        )
        may_have_happened = attempt.number > 1 or asked.address in self._maybe_happened
        try:
            with scope:
                made = perform(self._tools.performer, attempt, may_have_happened=may_have_happened)
                outcome = await self._tools.observers.watched(made, self.transaction, attempt)
                self._outcomes.append((asked.address, outcome))
        finally:
            del self._in_flight[asked.address]
            self._wake.set()

    # -- facts

    def _take_facts(self) -> list[Happened]:
        """Everything that happened since: from outside first, then outcomes, then timers."""
        happened = [Happened(address="", fact=put.fact, put=put) for put in self._external]
        self._external.clear()
        now_at, dice = self._tools.clock.now_at(), self._tools.dice.random
        bytes_max = self._tools.limits.payload_bytes_max
        for address, outcome in self._outcomes:
            asked = self._kernel.asked(address)
            if asked is not None:
                fact = fact_of(asked, outcome, now_at=now_at, dice=dice(), bytes_max=bytes_max)
                happened.append(Happened(address=address, fact=fact))
        self._outcomes.clear()
        for asked in self._unstarted.values():
            command = asked.command
            if isinstance(command, Sleep) and self._due_at(asked) <= now_at:
                fired = Fired(until_at=command.until_at, where=command.where)
                happened.append(Happened(address=asked.address, fact=fired))
        return happened

    async def _write(self, happened: list[Happened]) -> list[Happened]:
        """Feed what happened and make it durable with all it led to; what that asked for starts only afterwards.

        Returns what was written; the rest came too late.
        """
        while True:
            written = [one for one in happened if takes(self._kernel, one)]
            events = [event for one in written for event in self._feed_if_taken(one)]
            if not events:
                break
            if await self._append(events + self._feed_notes()):
                break
            # Somebody else was first, and the kernel is another one now: offer it the same facts again.
        for one in written:
            self._tools.observers.wrote(self.transaction, one.address, one.fact)
        for one in happened:
            if one.put is not None:
                one.put.is_durable = one in written or self._kernel.has_heard(one.fact)
                one.put.answered.set()
        return written

    def _feed_if_taken(self, one: Happened) -> list[Event]:
        """An earlier fact of the same turn may have ended the run or given the address up."""
        return [self._feed_new(one.address, one.fact)] if takes(self._kernel, one) else []

    async def _append(self, events: list[Event]) -> bool:
        """Make events durable; False when somebody else was first, with the kernel rebuilt from what they wrote."""
        gid, limits = self.transaction.gid, self._tools.limits
        if self._kernel.event_count > limits.journal_events_max and self._kernel.ended is None:
            raise TooLongError(
                f"transaction {gid}: its journal has reached {limits.journal_events_max} events (journal_events_max)"
            )
        change = change_of(
            self.transaction,
            self._kernel,
            events,
            next_due_at=self._next_due_at(),
            owner="" if self._parks() else self._tools.node,
        )
        # A run that begins again gets a fresh journal: this write ends the old one, and the store lets go of it.
        beginning = self._beginning(events[-1].at)
        write = Write(
            gid=gid,
            rows=tuple(row_of(gid, event) for event in events + beginning),
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
        if self.transaction.is_final or self._has_answered():
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

    def _has_answered(self) -> bool:
        """True when answers to updates have become durable just now."""
        count = self._kernel.answered_count
        before, self._answered_count = self._answered_count, count
        return count > before

    def _feed_notes(self) -> list[Event]:
        """What the run itself has to say: fed like what happens to it, until it says no more."""
        events: list[Event] = []
        while (note := self._kernel.next_note()) is not None:
            events.append(self._feed_new("", note))
        return events

    def _beginning(self, at: float) -> list[Event]:
        facts = self._kernel.beginning
        return [Event(seq=seq, at=at, address="", fact=fact) for seq, fact in enumerate(facts, self._kernel.next_seq)]

    def _feed_new(self, address: str, fact: AnyFact) -> Event:
        last_at = self._last.at if self._last is not None else 0.0
        # Clocks of two machines, or one that was set back, must not make a run's time go backwards.
        at = max(self._tools.clock.now_at(), last_at)
        event = Event(seq=self._kernel.next_seq, at=at, address=address, fact=fact)
        self._feed(event)
        return event

    def _feed(self, event: Event) -> None:
        self._last = event
        orders = self._kernel.feed(event)
        self._unstarted.pop(event.address, None)
        self._early.discard(event.address)
        if isinstance(event.fact, BRINGS_ATTEMPT):
            asked = self._kernel.asked(event.address)
            if asked is not None and not asked.is_in_doubt and self._kernel.awaits(event.address):
                self._unstarted[event.address] = asked
        for order in orders:
            if isinstance(order, Asked):
                self._unstarted[order.address] = order
                continue
            self._unstarted.pop(order.address, None)
            if order.address in self._in_flight:
                self._in_flight[order.address].give_up()

    # -- resting

    def _rest(self) -> None:
        self.is_resting = True
        self._tools.watch.tell(self.transaction)

    def _next_due_at(self) -> float | None:
        """When the next timer or attempt is due; None when only an event can bring the run on."""
        due = (self._due_at(asked) for asked in self._unstarted.values() if not self._must_wait_for_its_step(asked))
        return min(due, default=None)

    def _due_at(self, asked: Asked) -> float:
        if asked.address in self._early:
            return 0.0
        return asked.command.until_at if isinstance(asked.command, Sleep) else asked.retry_at

    def _is_far(self, due_at: float | None) -> bool:
        return due_at is None or due_at > self._tools.clock.now_at() + self._tools.limits.park_after_s

    def _parks(self) -> bool:
        """True when nothing is on its way and nothing is due soon, so the run can leave memory with this append."""
        idle = not self._in_flight and not self._outcomes and not self._external and not self._closing
        return idle and self._kernel.ended is None and self._is_far(self._next_due_at())

    async def _park(self) -> bool:
        """Give the transaction back until it is due, unless the last append has; False when somebody was first."""
        if self.transaction.owner != self._tools.node:
            return True
        return await self._append([self._feed_new("", Parked(wake_at=self._next_due_at()))])

    async def say_stuck(self, error: Exception) -> None:
        """Note in the journal, once, why this run cannot go on; nothing is performed and it stays as it is."""
        reason = str(error)
        self._kernel.close()
        history = await self._tools.journal.history(self.transaction.gid)
        last = event_of(history[-1])
        if isinstance(last.fact, Parked) and last.fact.reason == reason:
            return
        event = Event(
            seq=last.seq + 1, at=max(self._tools.clock.now_at(), last.at), address="", fact=Parked(reason=reason)
        )
        change = RowChange(updated_at=event.at, last_error=reason)
        write = Write(gid=self.transaction.gid, rows=(row_of(self.transaction.gid, event),), change=change)
        await self._tools.journal.append(write)

    def _new_kernel(self, recorded: list[Event]) -> Kernel:
        return Kernel(self._workflow, self.transaction.input, gid=self.transaction.gid, recorded=recorded)

    def __repr__(self) -> str:
        return f"<Driver of {self.transaction!r}: {self._kernel!r}, {len(self._in_flight)} in flight>"
