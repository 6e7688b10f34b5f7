"""A run in memory: its kernel, and what it waits for that is not on its way, by when that is due.

The law of this file: nothing here waits, and nothing is written. What is waited for is kept as it changes, so that a
turn costs what it changes and not what a thousand branches wait for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowtx_dsl.commands import Compensate, Sleep
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import AnyFact, Event, Fired, lean
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked
from flowtx_engine.runtime.ahead import Ahead
from flowtx_engine.runtime.clock import Clock
from flowtx_engine.runtime.flight import Flights
from flowtx_engine.runtime.happened import BRINGS_ATTEMPT, Happened, of_once_steps
from flowtx_engine.runtime.history import feed_history


class LiveRun:
    """One run, fed and looked at by its driver."""

    def __init__(self, workflow: AnyWorkflow, row: Transaction, flights: Flights, clock: Clock) -> None:
        """``flights`` are its calls on their way, which are given up when it gives their addresses up."""
        self._workflow = workflow
        self._flights = flights
        self._clock = clock
        self._last_at = 0.0
        self._unstarted: dict[str, Asked] = {}  # timers, and calls that are due now or later
        self._early: set[str] = set()
        self._maybe_happened: set[str] = set()
        self._answered_count = 0
        self.kernel = Kernel(workflow, row.input, gid=row.gid)

    # -- feeding

    def feed(self, event: Event) -> None:
        """Take one event."""
        self._last_at = event.at
        address = event.address
        orders = self.kernel.feed(event)
        self._unstarted.pop(address, None)
        self._early.discard(address)
        if isinstance(event.fact, BRINGS_ATTEMPT):
            asked = self.kernel.asked(address)
            if asked is not None and not asked.is_in_doubt and self.kernel.awaits(address):
                self._unstarted[address] = asked
        for order in orders:
            if isinstance(order, Asked):
                self._unstarted[order.address] = order
            else:
                self._unstarted.pop(order.address, None)
                self._flights.give_up(order.address)

    def feed_new(self, address: str, fact: AnyFact, data: bytes = b"") -> Event:
        """Take what happens now, and return it as an event; ``data`` is the event's."""
        # Clocks of two machines, or one that was set back, must not make a run's time go backwards.
        at = max(self._clock.now_at(), self._last_at)
        event = Event(seq=self.kernel.next_seq, at=at, address=address, fact=fact, data=data)
        self.feed(event)
        return event

    def feed_notes(self) -> list[Event]:
        """What the run itself has to say: fed like what happens to it, until it says no more."""
        events: list[Event] = []
        while (note := self.kernel.next_note()) is not None:
            events.append(self.feed_new("", *lean(note)))
        return events

    def beginning(self) -> list[Event]:
        """What the run's next journal begins with, at the end of this one; nothing unless it begins again."""
        first_seq = self.kernel.next_seq
        facts = enumerate(self.kernel.beginning, first_seq)
        return [Event(seq=seq, at=self._last_at, address="", fact=fact) for seq, fact in facts]

    def rebuild(self, row: Transaction, events: Sequence[Event]) -> None:
        """Begin anew from a history that was read."""
        self.kernel.close()
        self.kernel = Kernel(self._workflow, row.input, gid=row.gid, recorded=events)
        self._unstarted.clear()
        feed_history(events, self.feed, gid=row.gid)
        self._answered_count = 0
        for address in self._flights.begun:
            self._unstarted.pop(address, None)
        # Whoever drove the run before may have begun any of these.
        self._maybe_happened = set(self._unstarted)
        for address in [address for address in self._flights if self.kernel.asked(address) is None]:
            self._flights.give_up(address)

    def hasten(self, ahead: Ahead) -> None:
        """What it waits for just now is due at once, as far as that reaches."""
        self._early = {asked.address for asked in self._unstarted.values() if ahead.reaches(asked.command)}

    # -- what is due

    def due(self) -> list[Asked]:
        """What may be started; a timer that is due goes first, for it may be the deadline of what else is due."""
        now_at = self._clock.now_at()
        due = [asked for asked in self._unstarted.values() if self._due_at(asked) <= now_at]
        return [] if any(isinstance(asked.command, Sleep) for asked in due) else due

    def fired(self) -> Iterator[Happened]:
        """The timers whose time has come."""
        now_at = self._clock.now_at()
        for asked in self._unstarted.values():
            command = asked.command
            if isinstance(command, Sleep) and self._due_at(asked) <= now_at:
                yield Happened(address=asked.address, fact=Fired(until_at=command.until_at, where=command.where))

    def next_due_at(self) -> float | None:
        """When the next timer or attempt is due; None when only an event can bring the run on."""
        due = (self._due_at(asked) for asked in self._unstarted.values() if not self.waits_for_its_step(asked))
        return min(due, default=None)

    def _due_at(self, asked: Asked) -> float:
        if asked.address in self._early:
            return 0.0
        return asked.command.until_at if isinstance(asked.command, Sleep) else asked.retry_at

    def waits_for_its_step(self, asked: Asked) -> bool:
        """A compensation never overtakes a call of its own step that was given up but is still on its way."""
        return isinstance(asked.command, Compensate) and asked.address.removesuffix("/c") in self._flights

    def of_once_steps(self, due: Sequence[Asked]) -> list[Happened]:
        """What must be written down of steps that may be made once only before any of what is ``due`` is started."""
        return of_once_steps(self.kernel, due, busy=self._flights.begun) if self.kernel.has_once else []

    # -- what becomes of it

    def unstarted(self, address: str) -> Asked | None:
        """What waits at an address and is not on its way."""
        return self._unstarted.get(address)

    def start(self, asked: Asked) -> bool:
        """It is on its way from here on; True when somebody may have begun it before."""
        del self._unstarted[asked.address]
        return asked.address in self._maybe_happened

    def has_answered(self) -> bool:
        """True when the run has answered updates since this was last asked."""
        before, self._answered_count = self._answered_count, self.kernel.answered_count
        return self._answered_count > before
