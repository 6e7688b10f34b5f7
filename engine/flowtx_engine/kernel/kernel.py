"""Kernel: one transaction's run, from the facts of its journal to what it asks for.

The law of this file: no clock, no dice, no I/O, no trio. What goes in are events in journal order, what comes out are
orders in the order they were asked; the same events give the same orders. Its tasks run in the ``Loop``. Time is
the time of the event being fed. A kernel can be dropped at any moment and rebuilt from its journal; nothing else holds
a workflow's state. Live running and replay are the same code: replay is feeding events that were recorded.

Phases::

    new --Began--> running --root returns--------------------> ended (succeed)
                      |                                           ^
                      +--root raises--> compensating --all done---+ (failed)
                      +--Stopped----------------------------------+ (failed, nothing compensated)
"""

from __future__ import annotations

from typing import Literal, assert_never

import msgspec

from flowtx_dsl import codec
from flowtx_dsl.commands import Sleep, Step
from flowtx_dsl.error_codec import ErrorRecord, decode_error, encode_error
from flowtx_dsl.errors import Cancelled as CancelledError
from flowtx_dsl.errors import FlowtxError, PayloadError
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.kernel import mismatch
from flowtx_engine.kernel.compensation import Registered, TaskUndo, tree_of
from flowtx_engine.kernel.events import (
    Attempted,
    Began,
    CallRecord,
    Cancelled,
    Ended,
    Event,
    Failed,
    Fired,
    Parked,
    Refused,
    StepFact,
    Stopped,
    Succeeded,
)
from flowtx_engine.kernel.loop import Loop
from flowtx_engine.kernel.nurseries import NurseryBlock
from flowtx_engine.kernel.tasks import Ask, Asked, Order, Status, Task, split_cancelled

Phase = Literal["new", "running", "compensating", "ended"]


class Kernel(Loop):
    """One run in memory."""

    def __init__(self, workflow: AnyWorkflow, payload: bytes, *, gid: str) -> None:
        """``payload`` is the input as a JSON array; it is read when ``Began`` is fed."""
        super().__init__(gid)
        self.phase: Phase = "new"
        self.ended: Ended | None = None
        self.cause: ErrorRecord | None = None  # what turned the run round
        self._workflow = workflow
        self._payload = payload
        self._status: Status | None = None  # the scope around everything, which cancelling the run cancels

    # -- what the runtime uses

    def feed(self, event: Event) -> list[Order]:
        """Take one event, run until every task waits, and return what that asked for, in order.

        Raises ``NondeterminismError`` when the event does not belong to what this code asks; the kernel is then of no
        more use and must be closed.
        """
        if event.seq != self._seq:
            raise AssertionError(f"{self.name}: fed seq {event.seq}, expected {self._seq}")
        self._seq += 1
        self._at = event.at
        self._take(event)
        self._run_ready()
        orders = self._orders
        self._orders = []
        if self._withdrawn:
            orders = [order for order in orders if order.address not in self._withdrawn]
            self._withdrawn.clear()
        return orders

    @property
    def next_seq(self) -> int:
        """The seq of the next event to feed."""
        return self._seq

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
        match fact:
            case Succeeded():
                self._take_succeeded(self._match(event.address, fact), fact)
            case Attempted():
                asked = self._match(event.address, fact)
                if asked is not None:
                    asked.attempt_count = fact.attempt
                    asked.fault_count = fact.fault_count
                    asked.retry_at = fact.retry_at
            case Refused() | Failed():
                asked = self._match(event.address, fact)
                if asked is not None:
                    self._take_error(asked, fact)
            case Fired():
                self._take_fired(event)
            case Began():
                self._begin()
            case Cancelled():
                self._cancel(fact.reason)
            case Stopped():
                self._stop(fact.reason)
            case Parked():
                pass
            case Ended():
                self._check_ended(event)
            case _:
                assert_never(fact)

    def _match(self, address: str, fact: StepFact) -> Asked | None:
        """What waits for this fact; None when the run gave the address up before the fact came."""
        asked = self._asked.get(address)
        if asked is None:
            if address in self._given_up:
                return None
            raise mismatch.not_asked(self.name, self._workflow.version, address, fact.call, self.waiting)
        if not asked.is_record(fact.call) and not mismatch.same_call(asked, fact.call):
            raise mismatch.other_call(self.name, self._workflow.version, asked, fact.call)
        return asked

    def _take_succeeded(self, asked: Asked | None, fact: Succeeded) -> None:
        if asked is None:
            return
        command = asked.command
        if isinstance(command, Sleep):
            raise mismatch.other_call(self.name, self._workflow.version, asked, fact.call)
        value: object = None
        if isinstance(command, Step):
            try:
                value = command.call.target.result.decode(fact.value, what=f"the result of {command.call.name}")
            except PayloadError as error:
                raise mismatch.misfit(self.name, asked, error.message) from error
            registered = self._registered.get(asked.address)
            if registered is not None:
                registered.result = bytes(fact.value)
        self._resume(asked, value, None)

    def _take_error(self, asked: Asked, fact: Refused | Failed) -> None:
        command = asked.command
        if isinstance(fact, Refused) and isinstance(command, Step) and not command.compensates_refused:
            self._registered.pop(asked.address, None)
        self._resume(asked, None, decode_error(fact.error))

    def _take_fired(self, event: Event) -> None:
        asked = self._asked.get(event.address)
        recorded = CallRecord(name="sleep")
        if asked is None:
            if event.address in self._given_up:
                return
            raise mismatch.not_asked(self.name, self._workflow.version, event.address, recorded, self.waiting)
        if not isinstance(asked.command, Sleep):
            raise mismatch.other_call(self.name, self._workflow.version, asked, recorded)
        fire = self._timers.pop(asked.address, None)
        if fire is None:
            self._resume(asked, None, None)
        else:
            del self._asked[asked.address]
            fire()

    def _begin(self) -> None:
        self.phase = "running"
        try:
            args = self._workflow.signature.decode_args(self._payload)
        except FlowtxError as error:  # the input no longer fits the code: as if the workflow had raised it
            self._turn_round(error)
            return
        self._status = Status(None)
        self._root = Task(self._workflow.fn(Tx(self), *args), "", self._status)
        self._ready.append(self._root)

    def _cancel(self, reason: str) -> None:
        """Cancel the scope around everything; compensations already under way go on."""
        if self.phase == "running" and self._status is not None and not self._status.is_called:
            if self._root is not None and self._root.status is self._status:
                self._status.tasks[self._root] = None  # not entered at the start, because most runs are never cancelled
            self._status.is_called = True
            self._status.reason = reason
            self._status.recalculate(self)

    def _stop(self, reason: str) -> None:
        self._drop_rest()
        if self.phase != "ended":
            self.phase = "ended"
            self.ended = Ended(status="failed", error=ErrorRecord(type="flowtx:Stopped", text=reason))

    def _check_ended(self, event: Event) -> None:
        assert isinstance(event.fact, Ended), event
        if self.ended is None:
            raise mismatch.not_asked(
                self.name, self._workflow.version, "its end", CallRecord(name=event.fact.status), self.waiting
            )

    # -- the end

    def _root_ended(self, value: object, error: BaseException | None) -> None:
        if self._others:  # only misnested nurseries leave anybody behind
            self._drop_rest()
        if error is not None:
            self._turn_round(error)
            return
        try:
            encoded = codec.encode(value, what=f"the result of {self.name}")
            self._workflow.signature.result.decode(encoded, what=f"the result of {self.name}")
        except PayloadError as unfit:
            self._turn_round(unfit)
            return
        self.phase = "ended"
        self.ended = Ended(status="succeed", value=msgspec.Raw(encoded))

    # -- compensation

    def _turn_round(self, error: BaseException) -> None:
        """The workflow failed: take back what it did, then end. What cancelling the run threw in is no error of it."""
        if self._status is not None and self._status.is_called:
            _, rest = split_cancelled(error)
            error = rest if rest is not None else CancelledError(self._status.reason)
        self.cause = encode_error(error, with_trace=True)
        if not self._registered:
            self._end_failed()
            return
        self.phase = "compensating"
        tree = tree_of(list(self._registered.values()))
        self.spawn(Task(self._take_back(tree), "c", Status(None), self._taken_back))

    async def _take_back(self, undo: TaskUndo) -> None:
        """One task's part of it: in a scope of its own, which nothing cancels."""
        for item in undo.newest_first():
            if isinstance(item, Registered):
                await Ask(item.command, f"{item.address}/c")
            elif len(item) == 1:
                await self._take_back(item[0])
            else:
                async with NurseryBlock(self, "") as nursery:
                    for branch in item:
                        nursery.start_soon(self._take_back, branch)

    def _taken_back(self, task: Task, error: BaseException | None) -> None:
        if error is not None:
            raise AssertionError(f"{self.name}: a compensation raised {error!r}; the engine must retry it") from error
        self._end_failed()

    def _end_failed(self) -> None:
        self.phase = "ended"
        self.ended = Ended(status="failed", error=self.cause)
