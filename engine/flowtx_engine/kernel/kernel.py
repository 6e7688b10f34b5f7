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

A cancelled run is taken back even if its workflow swallows the cancellation and returns. An event that cannot come next
raises and changes nothing.
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Awaitable
from typing import Literal, assert_never

import msgspec

from flowtx_dsl.commands import Command, Compensate, Sleep, Step
from flowtx_dsl.error_codec import ErrorRecord, decode_error, encode_error
from flowtx_dsl.errors import FlowtxError, PayloadError, RunCancelled, RunClosed
from flowtx_dsl.targets import Call
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.kernel import mismatch
from flowtx_engine.kernel.events import (
    AnyFact,
    Attempted,
    Began,
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
from flowtx_engine.kernel.foreign import foreign_await, foreign_call, hide_loop, show_loop
from flowtx_engine.kernel.tasks import Abandoned, Ask, Asked, Order, Task

Phase = Literal["new", "running", "compensating", "ended"]

FOREIGN_AWAITS_MAX = 100
"""A coroutine that keeps awaiting foreign things after so many refusals is closed."""
SWALLOWED_MAX = 1_000
"""A workflow that goes on waiting after so many cancellations is closed, for it would go on for ever."""
REFUSALS_MAX = 1_000
"""A dropped workflow that goes on asking after so many refusals is suspended instead, for it would ask for ever."""
CLOSINGS_MAX = 100
"""A coroutine that goes on waiting after it was closed so often is left to the garbage collector."""


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

    __slots__ = (
        "_asked",
        "_at",
        "_cancelled",
        "_closed",
        "_current",
        "_given_up",
        "_is_over",
        "_orders",
        "_payload",
        "_ready",
        "_refusal_count",
        "_registered",
        "_root",
        "_seq",
        "_swallowed",
        "_version",
        "_workflow",
        "cause",
        "ended",
        "gid",
        "phase",
    )

    def __init__(self, workflow: AnyWorkflow, payload: bytes, *, gid: str) -> None:
        """``payload`` is the input as a JSON array; it is read when ``Began`` is fed."""
        self.gid = gid
        self.phase: Phase = "new"
        self.ended: Ended | None = None
        self.cause: ErrorRecord | None = None  # what turned the run round
        self._workflow = workflow
        self._version = workflow.version
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
        self._refusal_count = 0
        self._is_over = False
        self._closed = False

    # -- what the runtime uses

    def feed(self, event: Event) -> list[Order]:
        """Take one event, run until every task waits, and return what that asked for, in order.

        Raises ``NondeterminismError`` when the event does not belong to what this code asks, and ``AssertionError``
        when no history can hold it here. Both change nothing, and the kernel waits as before.
        """
        if event.seq != self._seq or self._is_over:
            raise AssertionError(f"{self.name}: fed seq {event.seq}, expected {self._expected}")
        self._take(event)
        self._seq += 1
        self._at = event.at
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

    @property
    def _expected(self) -> str:
        return "nothing after its end" if self._is_over else str(self._seq)

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
        hidden = hide_loop()
        try:
            for task in tasks:
                _close(task)
        finally:
            show_loop(hidden)

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
        if self._closed and self._refusal_count >= REFUSALS_MAX:
            return Ask(command)  # which suspends it, and nobody takes the command
        self._speaking()
        return Ask(command)

    def _speaking(self) -> Task:
        """The task that is speaking; raises ``RunClosed`` when none can."""
        if self._closed:
            self._refusal_count += 1
            raise RunClosed(f"{self.name} was dropped; nothing it asks for is performed")
        if self._current is None:
            raise RunClosed(f"tx of {self.name} was used outside its workflow")
        return self._current

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
            case Refused() | Failed():
                asked = self._match(event.address, fact)
                if asked is not None:
                    self._take_error(asked, fact)
            case Fired():
                self._take_fired(event.address, fact)
            case Cancelled():
                self._cancel(fact.reason)
            case Stopped():
                self._stop(fact.reason)
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
                return None
            raise mismatch.not_asked(self.name, self._version, address, fact.call, self.waiting)
        if not asked.is_record(fact.call) and not mismatch.same_call(asked, fact.call):
            raise mismatch.other_call(self.name, self._version, asked, fact.call)
        return asked

    def _take_succeeded(self, asked: Asked | None, fact: Succeeded) -> None:
        if asked is None:
            return
        command = asked.command
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
        assert isinstance(command, Step), f"{self.name}: {asked} was given up, but a compensation is tried for ever"
        if isinstance(fact, Refused) and not command.compensates_refused:
            self._registered.pop(asked.address, None)
        self._resume(asked, None, decode_error(fact.error))

    def _take_fired(self, address: str, fact: Fired) -> None:
        asked = self._asked.get(address)
        if asked is None:
            if address in self._given_up:
                return
            raise mismatch.not_asked(self.name, self._version, address, fact, self.waiting)
        if not isinstance(asked.command, Sleep) or asked.command.until_at != fact.until_at:
            raise mismatch.other_call(self.name, self._version, asked, fact)
        self._resume(asked, None, None)

    def _begin(self, fact: AnyFact) -> None:
        assert isinstance(fact, Began), f"{self.name}: its first event is {fact!r}, expected Began"
        try:
            args = self._workflow.signature.decode_args(self._payload)
        except FlowtxError as error:
            # It fitted when it was accepted, so the code has changed; to fail now could leave steps that happened.
            raise mismatch.input_misfit(self.name, self._workflow.where, error.message) from error
        self.phase = "running"
        self._version = fact.version
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

    def _check_ended(self, fact: Ended) -> None:
        if self.ended is None or not mismatch.same_end(self.ended, fact):
            raise mismatch.other_end(self.name, self._version, self.ended, fact, self.waiting)
        self._is_over = True

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
        hidden = hide_loop()
        try:
            while ready:
                task = self._current = ready.popleft()
                self._step_task(task)
        finally:
            self._current = None
            show_loop(hidden)

    def _step_task(self, task: Task) -> None:
        """Run one task to its next await."""
        error, task.error = task.error, None
        value, task.value = task.value, None
        try:
            trap = task.coro.send(value) if error is None else task.coro.throw(error)
        except StopIteration as stop:
            self._task_returned(task, stop.value)
        except KeyboardInterrupt:  # a person at the keyboard means the process, not this run
            raise
        except BaseException as raised:
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
            _close(task)
            self._task_raised(task, RunCancelled(f"{self._cancelled} (closed: it went on after every cancellation)"))
        else:
            task.error = RunCancelled(self._cancelled)
            self._ready.append(task)

    def _refuse_foreign(self, task: Task) -> None:
        """Throw an error in where the foreign await stands, until the coroutine ends or awaits a word of tx."""
        for _ in range(FOREIGN_AWAITS_MAX):
            try:
                trap = task.coro.throw(foreign_await(self.name, task.coro))
            except StopIteration as stop:
                return self._task_returned(task, stop.value)
            except KeyboardInterrupt:
                raise
            except BaseException as raised:
                return self._task_raised(task, raised)
            if isinstance(trap, Ask):
                return self._task_asked(task, trap)
        error = foreign_await(self.name, task.coro)
        _close(task)
        return self._task_raised(task, error)

    def _task_returned(self, task: Task, value: object) -> None:
        if task is not self._root:
            self._end_failed()
            return
        if self._cancelled is not None:  # it swallowed the cancellation; whoever cancelled is owed the way back
            self._turn_round(RunCancelled(self._cancelled))
            return
        try:
            encoded = self._workflow.signature.result.encode(value, what=f"the result of {self.name}")
        except FlowtxError as error:
            self._turn_round(error)
            return
        self.phase = "ended"
        self.ended = Ended(status="succeed", value=msgspec.Raw(encoded))

    def _task_raised(self, task: Task, error: BaseException) -> None:
        if task is not self._root:
            raise AssertionError(f"{self.name}: a compensation raised {error!r}; the engine must retry it") from error
        self._turn_round(foreign_call(self.name, error) or error)

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


def _close(task: Task) -> None:
    """Close a coroutine, again and again while its clean-up awaits something; its last words move nobody."""
    for _ in range(CLOSINGS_MAX):
        with contextlib.suppress(BaseException):
            task.coro.close()
        if getattr(task.coro, "cr_frame", None) is None:
            return
