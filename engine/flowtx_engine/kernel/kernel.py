"""Kernel: runs one transaction's coroutines, deterministically. The only thing that ever sends into a workflow.

The law of this file: no clock, no dice, no I/O, no trio. What goes in are events in journal order, what comes out are
orders in the order they were asked; the same events give the same orders. Ready tasks run first in, first out. Time is
the time of the event being fed. A kernel can be dropped at any moment and rebuilt from its journal; nothing else holds
a workflow's state. Live running and replay are the same code: replay is feeding events that were recorded.

Phases::

    new --Began--> running --root returns--------------------> ended (succeed)
                      |                                           ^
                      +--root raises--> compensating --all done---+ (failed)
                      +--Stopped----------------------------------+ (failed, nothing compensated)
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Awaitable
from typing import Literal, assert_never

import msgspec

from flowtx_dsl import codec
from flowtx_dsl.commands import Command, Compensate, Sleep, Step
from flowtx_dsl.error_codec import ErrorRecord, decode_error, encode_error
from flowtx_dsl.errors import FlowtxError, PayloadError, RunCancelled, RunClosed
from flowtx_dsl.targets import Call
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.kernel import mismatch
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
from flowtx_engine.kernel.foreign import foreign_await
from flowtx_engine.kernel.tasks import Abandoned, Ask, Asked, Order, Task

Phase = Literal["new", "running", "compensating", "ended"]

FOREIGN_AWAITS_MAX = 100
"""A coroutine that keeps awaiting foreign things after so many refusals is closed."""
SWALLOWED_MAX = 1_000
"""A workflow that goes on waiting after so many cancellations is closed, for it would go on for ever."""


class _Registered:
    """A compensation that is due should the run fail; ``result`` is its step's, None while unknown."""

    __slots__ = ("address", "call", "result", "step")

    def __init__(self, address: str, step: Step, call: Call) -> None:
        self.address = address
        self.step = step
        self.call = call
        self.result: bytes | None = None


class Kernel:
    """One run in memory; is the ``Run`` behind its ``Tx``."""

    def __init__(self, workflow: AnyWorkflow, payload: bytes, *, gid: str) -> None:
        """``payload`` is the input as a JSON array; it is read when ``Began`` is fed."""
        self.gid = gid
        self.phase: Phase = "new"
        self.ended: Ended | None = None
        self.cause: ErrorRecord | None = None  # what turned the run round
        self._workflow = workflow
        self._payload = payload
        self._at = 0.0
        self._seq = 0
        self._ready: deque[Task] = deque()
        self._current: Task | None = None
        self._root: Task | None = None
        self._asked: dict[str, Asked] = {}
        self._given_up: set[str] = set()
        self._registered: dict[str, _Registered] = {}
        self._orders: list[Order] = []
        self._cancelled: str | None = None
        self._swallowed = 0
        self._closed = False

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
        return orders

    @property
    def next_seq(self) -> int:
        """The seq of the next event to feed."""
        return self._seq

    @property
    def waiting(self) -> list[Asked]:
        """What the run waits for, in the order it was asked."""
        return list(self._asked.values())

    def asked(self, address: str) -> Asked | None:
        """What waits at an address, if anything does."""
        return self._asked.get(address)

    @property
    def name(self) -> str:
        """What messages call this run."""
        return f"workflow {self._workflow.name} {self.gid}"

    def close(self) -> None:
        """Drop the run: its coroutines are closed, and whatever their ``finally`` blocks ask for is refused."""
        self._closed = True
        tasks = {asked.task for asked in self._asked.values()} | set(self._ready)
        if self._root is not None:
            tasks.add(self._root)
        for task in tasks:
            with contextlib.suppress(BaseException):  # a dropped coroutine's last words move nobody
                task.coro.close()

    def __repr__(self) -> str:
        return f"<Kernel {self.name} {self.phase} at seq {self._seq}, waiting for {self.waiting}>"

    # -- what Tx uses (the Run protocol)

    def now_at(self) -> float:
        """The time of the event being fed, in seconds since the epoch."""
        self._speaking()
        return self._at

    def dice(self) -> random.Random:
        """The running task's generator."""
        return self._speaking().dice(self.gid)

    def ask(self, command: Command) -> Awaitable[object]:
        """Hand a command over."""
        self._speaking()
        return Ask(command)

    def _speaking(self) -> Task:
        """The task that is speaking; raises ``RunClosed`` when none can."""
        if self._closed:
            raise RunClosed(f"{self.name} was dropped; nothing it asks for is performed")
        if self._current is None:
            raise RunClosed(f"tx of {self.name} was used outside its workflow")
        return self._current

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
        self._resume(asked, None, None)

    def _begin(self) -> None:
        self.phase = "running"
        try:
            args = self._workflow.signature.decode_args(self._payload)
        except FlowtxError as error:  # the input no longer fits the code: as if the workflow had raised it
            self._turn_round(error)
            return
        self._root = Task(self._workflow.fn(Tx(self), *args), "")
        self._ready.append(self._root)

    def _cancel(self, reason: str) -> None:
        """Throw into every task that waits; compensations already under way go on."""
        if self.phase != "running":
            return
        self._cancelled = reason
        for asked in self.waiting:
            self._give_up(asked)
            self._resume(asked, None, RunCancelled(reason))

    def _stop(self, reason: str) -> None:
        for asked in self.waiting:
            self._give_up(asked)
            del self._asked[asked.address]
        self._ready.clear()
        if self.phase != "ended":
            self.phase = "ended"
            self.ended = Ended(status="failed", error=ErrorRecord(type="flowtx:Stopped", text=reason))

    def _give_up(self, asked: Asked) -> None:
        self._given_up.add(asked.address)
        self._orders.append(Abandoned(asked.address))

    def _check_ended(self, event: Event) -> None:
        assert isinstance(event.fact, Ended), event
        if self.ended is None:
            raise mismatch.not_asked(
                self.name, self._workflow.version, "its end", CallRecord(name=event.fact.status), self.waiting
            )

    # -- tasks

    def _resume(self, asked: Asked, value: object, error: BaseException | None) -> None:
        self._asked.pop(asked.address, None)
        task = asked.task
        task.asked = None
        task.value = value
        task.error = error
        self._ready.append(task)

    def _run_ready(self) -> None:
        """Run tasks first in, first out, until all of them wait or have ended."""
        ready = self._ready
        while ready:
            task = ready.popleft()
            self._current = task
            try:
                self._step_task(task)
            finally:
                self._current = None

    def _step_task(self, task: Task) -> None:
        """Run one task to its next await."""
        error, task.error = task.error, None
        value, task.value = task.value, None
        try:
            trap = task.coro.send(value) if error is None else task.coro.throw(error)
        except StopIteration as stop:
            self._task_returned(task, stop.value)
        except (Exception, RunCancelled) as raised:
            self._task_raised(task, raised)
        else:
            self._task_asked(task, trap)

    def _task_asked(self, task: Task, trap: object) -> None:
        if not isinstance(trap, Ask):
            self._refuse_foreign(task)
        elif self._cancelled is not None and task is self._root:
            self._cancel_again(task)
        else:
            command = trap.command
            address = trap.address or task.next_address()
            asked = Asked(address, command, task)
            task.asked = asked
            self._asked[address] = asked
            if isinstance(command, Step) and command.compensation is not None:
                self._registered[address] = _Registered(address, command, command.compensation)
            self._orders.append(asked)

    def _cancel_again(self, task: Task) -> None:
        """As in trio's cancelled scope, every further wait is cancelled too; but not for ever."""
        self._swallowed += 1
        if self._swallowed > SWALLOWED_MAX:
            with contextlib.suppress(BaseException):
                task.coro.close()
            self._task_raised(task, RunCancelled(f"{self._cancelled} (closed: it went on after every cancellation)"))
        else:
            task.error = RunCancelled(self._cancelled)
            self._ready.append(task)

    def _refuse_foreign(self, task: Task) -> None:
        """Throw an error in where the foreign await stands, until the coroutine ends or awaits a word of tx."""
        for _ in range(FOREIGN_AWAITS_MAX):
            error = foreign_await(self.name, task.coro)
            try:
                trap = task.coro.throw(error)
            except StopIteration as stop:
                return self._task_returned(task, stop.value)
            except (Exception, RunCancelled) as raised:
                return self._task_raised(task, raised)
            if isinstance(trap, Ask):
                return self._task_asked(task, trap)
        error = foreign_await(self.name, task.coro)
        task.coro.close()
        return self._task_raised(task, error)

    def _task_returned(self, task: Task, value: object) -> None:
        if task is not self._root:
            self._end_failed()
            return
        try:
            encoded = codec.encode(value, what=f"the result of {self.name}")
            self._workflow.signature.result.decode(encoded, what=f"the result of {self.name}")
        except PayloadError as error:
            self._turn_round(error)
            return
        self.phase = "ended"
        self.ended = Ended(status="succeed", value=msgspec.Raw(encoded))

    def _task_raised(self, task: Task, error: BaseException) -> None:
        if task is not self._root:
            raise AssertionError(f"{self.name}: a compensation raised {error!r}; the engine must retry it") from error
        self._turn_round(error)

    # -- compensation

    def _turn_round(self, error: BaseException) -> None:
        """The workflow failed: take back what it did, newest first, then end."""
        self.cause = encode_error(error, with_trace=True)
        if not self._registered:
            self._end_failed()
            return
        self.phase = "compensating"
        self._ready.append(Task(self._take_back(list(self._registered.values())), "c"))

    async def _take_back(self, registered: list[_Registered]) -> None:
        for entry in reversed(registered):
            step = entry.step
            taken_back = Compensate(
                call=entry.call,
                where=step.where,
                retry=step.retry,
                timeout_s=step.timeout_s,
                step=step.call,
                result=entry.result,
            )
            await Ask(taken_back, f"{entry.address}/c")

    def _end_failed(self) -> None:
        self.phase = "ended"
        self.ended = Ended(status="failed", error=self.cause)
