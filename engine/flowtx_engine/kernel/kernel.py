"""Kernel: one transaction's run, from the facts of its journal to what it asks for.

The law of this file: no clock, no dice, no I/O, no trio. What goes in are events in journal order, what comes out are
orders in the order they were asked; the same events give the same orders. Time is the time of the event being fed. A
kernel can be dropped at any moment and rebuilt from its journal; nothing else holds a workflow's state. Live running
and replay are the same code: replay is feeding events that were recorded. An event that cannot come next raises and
changes nothing.

It is built in four layers, each of which knows only those before it::

    Loop      runs the workflow's tasks until all of them wait, and keeps what they wait for
    Words     what the workflow can say to its run
    Outcomes  what became of its steps
    Life      its phases, from the first fact to the last; ``phases`` has the table of them
    Kernel    the facts of its journal, each given to whom it concerns
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never

from flowtx_dsl.commands import Sleep
from flowtx_dsl.error_codec import ErrorRecord
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.kernel import mismatch, phases
from flowtx_engine.kernel.beginnings import begins_again
from flowtx_engine.kernel.events import (
    AnyFact,
    Attempted,
    Began,
    Cancelled,
    Changed,
    Decided,
    Doubted,
    Ended,
    Event,
    Failed,
    Fired,
    Hastened,
    Kept,
    Note,
    Parked,
    Refused,
    Returned,
    Signalled,
    Started,
    StepFact,
    Stopped,
    Succeeded,
    Updated,
)
from flowtx_engine.kernel.life import Life
from flowtx_engine.kernel.phases import PhaseName
from flowtx_engine.kernel.tasks import Asked, Order

RunStatus = Literal["prepared", "submitted", "aborting", "succeed", "failed"]
"""DTM's five words (spec 4.1)."""


class Kernel(Life):
    """One run in memory."""

    __slots__ = ()

    def __init__(self, workflow: AnyWorkflow, payload: bytes, *, gid: str, recorded: Sequence[Event] = ()) -> None:
        """``payload`` is the input as a JSON array; it is read when ``Began`` is fed.

        ``recorded`` is the history that will be fed first: what is asked while it is fed was asked before, by whatever
        code ran then.
        """
        super().__init__(workflow, payload, gid, recorded)

    def feed(self, event: Event) -> list[Order]:
        """Take one event, run until every task waits, and return what that asked for, in order.

        Raises ``NondeterminismError`` when the event does not belong to what this code asks, and ``AssertionError``
        when no history can hold it here. Both change nothing, and the kernel waits as before.
        """
        self._check_next(event)
        before = self._seq, self._at
        self._seq, self._at = event.seq + 1, event.at
        try:
            self._take(event)
        except Exception:
            self._seq, self._at = before
            raise
        self._run_ready()
        orders = self._orders
        self._orders = []
        if self._withdrawn:
            orders = [order for order in orders if order.address not in self._withdrawn]
            self._withdrawn.clear()
        return orders

    # -- where it stands

    @property
    def phase(self) -> PhaseName:
        """The phase it is in."""
        return self._phase.name

    @property
    def status(self) -> RunStatus:
        """Where the run is, in DTM's words."""
        phase = self._phase
        if isinstance(phase, phases.Ended):
            return phase.end.status
        if isinstance(phase, phases.Compensating):
            return "aborting"
        return "prepared" if self.is_prepared else "submitted"

    @property
    def waits_for_place(self) -> bool:
        """True while the run must not begin before its limit has room for it."""
        return isinstance(self._phase, phases.Delayed) and self._phase.waits_for_place

    @property
    def cause(self) -> ErrorRecord | None:
        """What turned the run round."""
        phase = self._phase
        return phase.end.error if isinstance(phase, phases.Compensating | phases.Ended) else None

    @property
    def ended(self) -> Ended | None:
        """How the run has ended, if it has."""
        return self._phase.end if isinstance(self._phase, phases.Ended) else None

    @property
    def beginning(self) -> tuple[AnyFact, ...]:
        """What the run's next journal begins with, once it is restarting."""
        return self._phase.beginning if isinstance(self._phase, phases.Restarting) else ()

    def next_note(self) -> Note | None:
        """What the run wants written now, to be fed like any event; its end comes last."""
        if self._unnoted:
            return self._unnoted[0]
        phase = self._phase
        if isinstance(phase, phases.Held) and not phase.is_noted:
            return Returned(value=phase.end.value)
        return phase.end if isinstance(phase, phases.Ended) and not isinstance(phase, phases.Over) else None

    @property
    def event_count(self) -> int:
        """How many events were fed."""
        return self._seq - self.first_seq

    @property
    def next_seq(self) -> int:
        """The seq of the next event to feed."""
        return self._seq

    def __repr__(self) -> str:
        return f"<Kernel {self.name} {self.phase} at seq {self._seq}, waiting for {self.waiting}>"

    # -- events

    def _check_next(self, event: Event) -> None:
        phase = type(self._phase)
        if phase is phases.Over:
            raise AssertionError(f"{self.name}: fed seq {event.seq}, expected nothing after its end")
        if event.seq != self._seq and not (phase is phases.New and begins_again(event.fact)):
            raise AssertionError(f"{self.name}: fed seq {event.seq}, expected {self._seq}")

    def _take(self, event: Event) -> None:
        """Branch on the kind of fact; everything it leads to waits in the ready queue."""
        fact = event.fact
        if isinstance(self._phase, phases.New):
            assert isinstance(fact, Began), f"{self.name}: its first event is {fact!r}, expected Began"
            self._begin(fact)
            return
        match fact:
            case Succeeded():
                self._take_succeeded(self._match(event.address, fact), fact)
            case Attempted():
                self._take_attempted(self._match(event.address, fact), fact)
            case Refused() | Failed():
                self._take_error(self._match(event.address, fact), fact)
            case Started() | Doubted():
                self._take_doubt(self._match(event.address, fact), fact)
            case Decided():
                if self.asked(event.address) is not None:  # else it came after what it decides was known
                    self._take_decided(self._match(event.address, fact), fact)
            case Fired():
                self._take_fired(event.address, fact)
            case Cancelled():
                self._cancel(fact.reason)
            case Stopped():
                self._stop(fact.reason)
            case Signalled() | Updated():
                self.dialogue.hear(fact)
            case Changed():
                self._take_changed(fact)
            case Returned():
                self._take_returned(fact)
            case Kept():
                self._keep()
            case Hastened():
                self._hasten(event.at)
            case Parked():
                pass
            case Ended():
                self._take_ended(fact)
            case Began():
                raise AssertionError(f"{self.name}: began a second time, at seq {event.seq}")
            case _:
                assert_never(fact)

    def _match(self, address: str, fact: StepFact) -> Asked | None:
        """What waits for this fact; None when the run gave the address up before the fact came."""
        asked = self._asked.get(address)
        if asked is None:
            if address in self._given_up:
                return self._doubtful.get(address)
            raise mismatch.not_asked(self.name, self._version, address, fact.call, self.waiting)
        if not asked.is_record(fact.call) and not mismatch.same_call(asked, fact.call):
            raise mismatch.other_call(self.name, self._version, asked, fact.call)
        return asked

    def _take_fired(self, address: str, fact: Fired) -> None:
        asked = self._asked.get(address)
        if asked is None:
            if address in self._given_up:
                return
            raise mismatch.not_asked(self.name, self._version, address, fact, self.waiting)
        if not isinstance(asked.command, Sleep) or asked.command.until_at != fact.until_at:
            raise mismatch.other_call(self.name, self._version, asked, fact)
        fire = self._timers.pop(asked.address, None)
        if fire is None:
            self._resume(asked, None, None)
        else:
            del self._asked[asked.address]
            fire()

    def _take_returned(self, fact: Returned) -> None:
        phase, recorded = self._phase, Ended(status="succeed", value=fact.value)
        returned = phase.end if isinstance(phase, phases.Held | phases.Ended) else None
        if returned is None or not mismatch.same_end(returned, recorded):
            raise mismatch.other_end(self.name, self._version, returned, recorded, self.waiting)
        if isinstance(phase, phases.Held):
            phase.is_noted = True

    def _take_ended(self, fact: Ended) -> None:
        if self.ended is None or not mismatch.same_end(self.ended, fact):
            raise mismatch.other_end(self.name, self._version, self.ended, fact, self.waiting)
        self._move(phases.Over(fact))  # the recorded one: a large result is then in memory once
