"""Kernel: one transaction's run, from the facts of its journal to what it asks for.

The law of this file: no clock, no dice, no I/O, no trio. What goes in are events in journal order, what comes out are
orders in the order they were asked; the same events give the same orders. Its tasks run in the ``Loop``. Time is
the time of the event being fed. A kernel can be dropped at any moment and rebuilt from its journal; nothing else holds
a workflow's state. Live running and replay are the same code: replay is feeding events that were recorded.

Phases::

    new ------Began-----> running, or delayed until the Fired of its start
    running --returns---> confirming; a child is held until Kept, and compensates when it is Cancelled instead
    running --restarts--> confirming, then restarting: the beginning of the next journal is the end of this one
    running --raises----> compensating
    confirming, all done -> ended (succeed)
    compensating, all done -> ended (failed)

What has nothing to confirm or to compensate ends at once. Stopped ends a run from anywhere: failed, nothing
compensated. A run that begins later is ``delayed`` between Began and the Fired of its start: nothing of its workflow
has run, so cancelling it then ends it with nothing to take back. A cancelled run is taken back even if its workflow
swallows the cancellation and returns; once it is confirming, it has succeeded and cannot be cancelled any more.

An event that cannot come next raises and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Literal, assert_never

import msgspec

from flowtx_dsl.commands import Compensate, Sleep
from flowtx_dsl.error_codec import ErrorRecord, encode_error
from flowtx_dsl.errors import Cancelled as CancelledError
from flowtx_dsl.errors import FlowtxError, WorkflowError
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.kernel import mismatch
from flowtx_engine.kernel.beginnings import begins_again, fresh_journal, heard_until, restarting
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
    stopped_end,
)
from flowtx_engine.kernel.foreign import foreign_call
from flowtx_engine.kernel.nurseries import NurseryBlock
from flowtx_engine.kernel.outcomes import Outcomes
from flowtx_engine.kernel.savepoint import Restarting, Savepoint
from flowtx_engine.kernel.settling import Due, TaskDue, compensations_of, confirmations_of
from flowtx_engine.kernel.tasks import Ask, Asked, Order, Status, Task, split_cancelled

Phase = Literal["new", "delayed", "running", "held", "confirming", "restarting", "compensating", "ended"]
RunStatus = Literal["prepared", "submitted", "aborting", "succeed", "failed"]
"""DTM's five words (spec 4.1)."""

START = "start"
"""The address of a delayed run's beginning; no task can have it."""


class Kernel(Outcomes):
    """One run in memory."""

    __slots__ = (
        "_changes",
        "_has_place",
        "_is_over",
        "_live_from",
        "_payload",
        "_restarts_with",
        "_status",
        "_value",
        "_version",
        "_workflow",
        "beginning",
        "cause",
        "ended",
        "first_seq",
        "notes",
        "parent",
        "phase",
    )

    def __init__(self, workflow: AnyWorkflow, payload: bytes, *, gid: str, recorded: Sequence[Event] = ()) -> None:
        """``payload`` is the input as a JSON array; it is read when ``Began`` is fed.

        ``recorded`` is the history that will be fed first: what is asked while it is fed was asked before, by whatever
        code ran then.
        """
        super().__init__(gid)
        self.phase: Phase = "new"
        self.ended: Ended | None = None
        self.cause: ErrorRecord | None = None  # what turned the run round
        self._has_place = True  # False while its limit has no room for it
        self._workflow = workflow
        self._version = workflow.version
        self._payload = payload
        self._status: Status | None = None  # the scope around everything, which cancelling the run cancels
        self._is_over = False
        self._value = b"null"  # what the workflow returned
        self.parent = ""  # the gid of the run that this one is a child of
        self.first_seq = 0  # not 0 in the journal of a run that began again
        self._restarts_with: bytes | None = None
        self.beginning: tuple[AnyFact, ...] = ()  # of the fresh journal that follows this one, once it is restarting
        self._live_from = heard_until(recorded)
        self._changes = {event.fact.change: True for event in recorded if isinstance(event.fact, Changed)}
        self.notes: list[Note] = []  # what is to be written with the event that led to it

    # -- what the runtime uses

    def feed(self, event: Event) -> list[Order]:
        """Take one event, run until every task waits, and return what that asked for, in order.

        Raises ``NondeterminismError`` when the event does not belong to what this code asks, and ``AssertionError``
        when no history can hold it here. Both change nothing, and the kernel waits as before.
        """
        seq = event.seq if self.phase == "new" and begins_again(event.fact) else self._seq
        if event.seq != seq or self._is_over:
            raise AssertionError(f"{self.name}: fed seq {event.seq}, expected {self._expected}")
        before = self._seq, self._at
        self._seq, self._at = seq + 1, event.at
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

    @property
    def waits_for_place(self) -> bool:
        """True while the run must not begin before its limit has room for it."""
        return self.phase == "delayed" and not self._has_place

    @property
    def event_count(self) -> int:
        """How many events were fed."""
        return self._seq - self.first_seq

    @property
    def next_seq(self) -> int:
        """The seq of the next event to feed."""
        return self._seq

    @property
    def status(self) -> RunStatus:
        """Where the run is, in DTM's words."""
        match self.phase:
            case "new" | "delayed" | "running" | "held" | "confirming" | "restarting":
                return "prepared" if self.is_prepared else "submitted"
            case "compensating":
                return "aborting"
            case "ended":
                assert self.ended is not None, self
                return self.ended.status

    def has_heard(self, fact: AnyFact) -> bool:
        """True for what came already under the same key: feeding it again would be once too many."""
        return self._dialogue is not None and self._dialogue.has_heard(fact)

    def next_note(self) -> Note | None:
        """What the run wants written now, to be fed like any event; its end comes last."""
        if self.notes:
            return self.notes[0]
        return None if self._is_over else self.ended

    @property
    def answered_count(self) -> int:
        """How many updates the run has answered."""
        return 0 if self._dialogue is None else len(self._dialogue.answers)

    @property
    def _expected(self) -> str:
        return "nothing after its end" if self._is_over else str(self._seq)

    @property
    def name(self) -> str:
        """What messages call this run."""
        return f"workflow {self._workflow.name} {self.gid}"

    def __repr__(self) -> str:
        return f"<Kernel {self.name} {self.phase} at seq {self._seq}, waiting for {self.waiting}>"

    # -- events

    def _take(self, event: Event) -> None:
        """Branch on the kind of fact; everything it leads to waits in the ready queue."""
        fact = event.fact
        if self.phase == "new":
            self._begin(fact)
            return
        match fact:
            case Succeeded():
                self._take_succeeded(self._match(event.address, fact), fact)
            case Attempted():
                asked = self._match(event.address, fact)
                if asked is not None:
                    asked.attempt_count = fact.attempt
                    asked.fault_count = fact.fault_count
                    asked.retry_at = fact.retry_at
                    asked.error = fact.error
            case Refused() | Failed():
                asked = self._match(event.address, fact)
                if asked is not None:
                    self._take_error(asked, fact)
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
                self._take_note(fact)
            case Returned():
                self._check_returned(fact)
            case Kept():
                if self.phase == "held":
                    self._confirm()
            case Hastened():
                self._hasten(event.at)
            case Parked():
                pass
            case Ended():
                self._check_ended(fact)
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

    def _begin(self, fact: AnyFact) -> None:
        assert isinstance(fact, Began), f"{self.name}: its first event is {fact!r}, expected Began"
        if begins_again(fact):
            self._payload = bytes(fact.input)
            self.first_seq = self._seq - 1
            self._seed = f"{self.gid}@{self.first_seq}"
        if fact.heard:
            self.dialogue.remember(fact.heard)
        try:
            args = self._workflow.signature.decode_args(self._payload)
        except FlowtxError as error:
            # It fitted when it was accepted, so the code has changed; to fail now could leave steps that happened.
            raise mismatch.input_misfit(self.name, self._workflow.where, error.message) from error
        self.is_prepared = fact.is_prepared
        self.parent = fact.parent
        self._version = fact.version
        if fact.starts_at is None:
            self._launch(args)
        else:
            self.phase = "delayed"
            self._has_place = fact.place is None
            timer = Sleep(until_at=fact.starts_at, where=self._workflow.where, name="start")
            self.set_timer(START, timer, partial(self._start, args, fact.starts_at))

    def _start(self, args: tuple[object, ...], starts_at: float) -> None:
        """Its time has come; it sees the time it was meant for, or when its turn came if it had to wait for one."""
        if self._has_place:
            self._at = starts_at
        self._launch(args)

    def _launch(self, args: tuple[object, ...]) -> None:
        self.phase = "running"
        self._status = Status(None)
        self._root = Task(self._workflow.fn(Tx(self), *args), "", self._status)
        self._ready.append(self._root)

    def _cancel(self, reason: str) -> None:
        """Cancel the scope around everything; compensations already under way go on."""
        if self.phase == "delayed":
            self.drop_timer(START)
            self._turn_round(CancelledError(reason))
        if self.phase == "held":
            self.notes.clear()
            self._turn_round(CancelledError(reason))
        if self.phase == "running" and self._status is not None and not self._status.is_called:
            if self._root is not None and self._root.status is self._status:
                self._status.tasks[self._root] = None  # not entered at the start, because most runs are never cancelled
            self._status.is_called = True
            self._status.reason = reason
            self._status.recalculate(self)

    def _hasten(self, at: float) -> None:
        for asked in self._asked.values():
            asked.retry_at = min(asked.retry_at, at)

    def changed(self, change: str) -> bool:
        """Whether this run had not come here yet when its code was changed; the answer is kept in the journal."""
        self.speaking()
        known = self._changes.get(change)
        if known is None:
            known = self._changes[change] = self._seq > self._live_from
            if known:
                self.notes.append(Changed(change=change))
        return known

    def open_savepoint(self, where: str) -> AbstractAsyncContextManager[None]:
        """The block of a savepoint."""
        self.speaking()
        return Savepoint(self, where)

    def _take_note(self, fact: Note) -> None:
        if fact in self.notes:
            self.notes.remove(fact)

    def _check_returned(self, fact: Returned) -> None:
        returned = Ended(status="succeed", value=msgspec.Raw(self._value)) if self.phase == "held" else self.ended
        recorded = Ended(status="succeed", value=fact.value)
        if returned is None or not mismatch.same_end(returned, recorded):
            raise mismatch.other_end(self.name, self._version, returned, recorded, self.waiting)
        self.notes.clear()

    def _stop(self, reason: str) -> None:
        undone = [asked for asked in self._asked.values() if isinstance(asked.command, Compensate)]
        failing = tuple(asked.error for asked in undone if asked.error is not None)
        self._drop_rest()
        # Also when the run had come to its end: that was not written down yet, and this was.
        self.phase = "ended"
        self.ended = stopped_end(reason, failing)

    def _check_ended(self, fact: Ended) -> None:
        if self.ended is None or not mismatch.same_end(self.ended, fact):
            raise mismatch.other_end(self.name, self._version, self.ended, fact, self.waiting)
        self._is_over = True

    # -- the end

    def _root_ended(self, value: object, error: BaseException | None) -> None:
        if self._others:  # only misnested nurseries leave anybody behind
            self._drop_rest()
        again = restarting(error)
        if error is not None and again is None:
            self._turn_round(foreign_call(self.name, error) or error)
            return
        if self._status is not None and self._status.is_called:
            # It swallowed the cancellation; whoever cancelled is owed the way back.
            self._turn_round(CancelledError(self._status.reason))
            return
        if again is not None:
            self._restarts_with = again.payload
            self._confirm()
            return
        try:
            encoded = self._workflow.signature.result.encode(value, what=f"the result of {self.name}")
        except FlowtxError as unfit:
            self._turn_round(unfit)
            return
        self._value = encoded
        if self.parent:
            self.phase = "held"
            self.notes.append(Returned(value=msgspec.Raw(encoded)))
        else:
            self._confirm()

    def _confirm(self) -> None:
        """Nothing can turn the run round any more: do what waited for its success, then end."""
        due = confirmations_of(self._registered.values()) if self._confirms else None
        if due is None:
            self._end_succeeded()
            return
        self.phase = "confirming"
        self.spawn(Task(self.settle(due, is_newest_first=False), "m", Status(None), self._confirmed))

    def _end_succeeded(self) -> None:
        if self._restarts_with is not None:
            self.phase = "restarting"
            self.beginning = fresh_journal(self._workflow.name, self._version, self._restarts_with, self._dialogue)
            return
        self.phase = "ended"
        self.ended = Ended(status="succeed", value=msgspec.Raw(self._value))

    def restart(self, args: tuple[object, ...]) -> Restarting:
        """What to raise to let the run end here and begin again with other input."""
        self.speaking()
        if self.parent:
            raise WorkflowError(
                f"{self.name} is a child and cannot restart: its parent has still to say whether it is kept",
                remedy="Let the parent loop, or begin it with tx.detach.",
            )
        return Restarting(self._workflow.signature.encode_args(args))

    # -- settling

    def _turn_round(self, error: BaseException) -> None:
        """The workflow failed: take back what it did, then end. What cancelling the run threw in is no error of it."""
        if self._status is not None and self._status.is_called:
            _, rest = split_cancelled(error)
            error = rest if rest is not None else CancelledError(self._status.reason)
        self.cause = encode_error(error, with_trace=True)
        due = compensations_of(self._registered.values()) if self._registered else None
        if due is None:
            self._end_failed()
            return
        self.phase = "compensating"
        self.spawn(Task(self.settle(due, is_newest_first=True), "c", Status(None), self._taken_back))

    async def settle(self, due: TaskDue, is_newest_first: bool) -> None:
        """One task's part of it: in a scope of its own, which nothing cancels."""
        for item in due.in_order(is_newest_first=is_newest_first):
            if isinstance(item, Due):
                if item.step_address in self._doubtful:
                    await self._decision(item.step_address)
                command = item.command
                if command is not None:
                    await Ask(command, item.address)
            elif len(item) == 1:
                await self.settle(item[0], is_newest_first)
            else:
                async with NurseryBlock(self, "") as nursery:
                    for branch in item:
                        nursery.start_soon(self.settle, branch, is_newest_first)

    def _taken_back(self, task: Task, error: BaseException | None) -> None:
        self._check_settled(error)
        self._end_failed()

    def _confirmed(self, task: Task, error: BaseException | None) -> None:
        self._check_settled(error)
        self._end_succeeded()

    def _check_settled(self, error: BaseException | None) -> None:
        if error is not None:
            raise AssertionError(f"{self.name}: it was settled with {error!r}; the engine must retry") from error

    def _end_failed(self) -> None:
        self.phase = "ended"
        self.ended = Ended(status="failed", error=self.cause)
