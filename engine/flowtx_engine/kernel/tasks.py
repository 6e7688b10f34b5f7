"""Tasks of a run, what they wait for, and the tree along which cancellation reaches them.

The law of this file: an address is a place in the task tree and nothing else, so no sibling's timing can change one.

* A task numbers in its own program order whatever it asks for: steps, sleeps, nurseries, scopes, deadlines that it
  sets, and the tasks it starts in nurseries that it did not open. ``3`` is the fourth of the workflow itself.
* A number is taken also when a cancelled scope lets nothing come of it: when a cancellation comes moves no address.
* A nursery numbers the tasks that its own task starts in it: ``0/2`` is the third branch of nursery 0, ``0/2/1`` the
  second thing that branch asks for.
* A task that somebody else starts is numbered by its starter: ``0/1.4`` was started in nursery 0 by a task that
  stands at ``1``, as its fifth thing. Slashes of the starter's address are written as dots, dots are doubled.
"""

from __future__ import annotations

import contextlib
import inspect
import random
from collections.abc import Callable, Coroutine, Generator
from typing import Protocol, cast

import msgspec

from flowtx_dsl.commands import Command, Sleep, Step
from flowtx_dsl.error_codec import ErrorRecord
from flowtx_dsl.errors import Cancelled
from flowtx_engine.kernel.digests import digest_of
from flowtx_engine.kernel.events import ARGS_KEPT_MAX, CallRecord
from flowtx_engine.kernel.settling import Registered

CLOSINGS_MAX = 1_000
"""A coroutine that goes on waiting after it was closed so often is left to the garbage collector."""


class Ask:
    """What a word of ``tx`` yields to the kernel: a command that wants an outcome."""

    __slots__ = ("address", "command")

    def __init__(self, command: Command, address: str = "") -> None:
        self.command = command
        self.address = address

    def __await__(self) -> Generator[Ask, object, object]:
        """Hand the command over; resumes with its outcome."""
        return (yield self)


class Wait:
    """Yielded by a task that waits for another task of its run; ``abort`` is called when it is cancelled meanwhile.

    ``abort`` forgets the task wherever it is waited for and returns True; False refuses to be cancelled. ``what`` is
    what messages call it.
    """

    __slots__ = ("abort", "what")

    def __init__(self, abort: Callable[[], bool], what: str) -> None:
        self.abort = abort
        self.what = what

    def __await__(self) -> Generator[Wait, object, object]:
        """Wait until somebody reschedules the task; resumes with what they say."""
        return (yield self)


class Turn:
    """Yielded by a task that lets the others run first; a cancellation does not touch it."""

    __slots__ = ()

    def __await__(self) -> Generator[Turn, object, None]:
        """Go to the end of the queue."""
        yield self


TURN = Turn()


class Status:
    """One node of the cancellation tree: a scope that was entered, with the tasks and scopes directly inside it.

    ``is_called`` and ``shield`` are its scope's; ``is_cancelled`` says whether waiting inside it is refused, by its
    own scope or by one further out. ``look`` is there after a deadline was set that had passed, until somebody has felt
    it: whoever brings ``is_cancelled`` up to date looks, as in trio. Insertion order is kept, so that cancellation
    reaches tasks in a fixed order.
    """

    __slots__ = ("children", "is_called", "is_cancelled", "look", "parent", "reason", "shield", "tasks")

    def __init__(
        self, parent: Status | None, *, is_called: bool = False, shield: bool = False, reason: str = ""
    ) -> None:
        self.parent = parent
        self.is_called = is_called
        self.shield = shield
        self.reason = reason
        self.is_cancelled = False
        self.look: Callable[[], None] | None = None
        self.children: dict[Status, None] = {}
        self.tasks: dict[Task, None] = {}
        if parent is not None:
            parent.children[self] = None
            self.recalculate(None)

    @property
    def sees_parent_cancelled(self) -> bool:
        """True when a cancellation from further out reaches in."""
        return self.parent is not None and not self.shield and self.parent.is_cancelled

    def encloses(self, other: Status | None) -> bool:
        """True when the other is this one or inside it."""
        while other is not None and other is not self:
            other = other.parent
        return other is self

    def recalculate(self, scheduler: Scheduler | None) -> None:
        """Bring ``is_cancelled`` up to date here and below, and interrupt the tasks that it now reaches."""
        todo: list[Status] = [self]
        while todo:
            status = todo.pop()
            if status.look is not None:
                look, status.look = status.look, None
                look()
            is_cancelled = status.is_called or status.sees_parent_cancelled
            if is_cancelled == status.is_cancelled:
                continue
            if not status.reason and status.parent is not None and not status.is_called:
                status.reason = status.parent.reason
            status.is_cancelled = is_cancelled
            if is_cancelled and scheduler is not None:
                for task in list(status.tasks):
                    scheduler.interrupt(task)
            todo.extend(reversed(status.children))

    def close(self, scheduler: Scheduler) -> None:
        """The scope has ended; whatever is still inside, by misnesting, stays cancelled."""
        if self.parent is not None:
            self.parent.children.pop(self, None)
            self.parent = None
        if self.tasks or self.children:
            self.is_called = True
            self.recalculate(scheduler)


class OpenNursery(Protocol):
    """What a task needs of a nursery that it has opened."""

    def abandon(self) -> None:
        """The task ended without leaving the block."""
        ...


def split_cancelled(error: BaseException) -> tuple[bool, BaseException | None]:
    """Whether an error holds cancellations, and what is left of it without them."""
    if isinstance(error, Cancelled):
        return True, None
    if isinstance(error, BaseExceptionGroup):
        found, rest = cast("BaseExceptionGroup[BaseException]", error).split(Cancelled)
        return found is not None, rest
    return False, error


OnEnd = Callable[["Task", BaseException | None], None]


class Task(msgspec.Struct, eq=False):
    """One coroutine of a run, at its address.

    It counts as inside its status once it is spawned.

    ``on_end`` is told when the coroutine has ended, and with which error. While the task waits, ``asked`` or ``abort``
    says for what; ``waits_for`` is the latter in words. ``value`` or ``error`` is what it will be resumed with.
    """

    coro: Coroutine[object, object, object]
    address: str
    status: Status
    on_end: OnEnd | None = None
    count: int = 0
    asked: Asked | None = None
    abort: Callable[[], bool] | None = None
    waits_for: str = ""
    value: object = None
    error: BaseException | None = None
    nurseries: list[OpenNursery] | None = None
    _dice: random.Random | None = None

    @property
    def prefix(self) -> str:
        """What stands before the numbers of what it asks for."""
        return f"{self.address}/" if self.address else ""

    def enter(self, status: Status) -> None:
        """From now on this task is directly inside another status."""
        self.status.tasks.pop(self, None)
        self.status = status
        status.tasks[self] = None

    def next_address(self) -> str:
        """The address of the next thing this task asks for."""
        count = self.count
        self.count = count + 1
        return f"{self.address}/{count}" if self.address else f"{count}"

    def dice(self, seed: str) -> random.Random:
        """This task's generator; a string seed is hashed by ``random`` in a way that is stable over processes."""
        if self._dice is None:
            self._dice = random.Random(f"{seed}\n{self.address}")  # not for secrets
        return self._dice

    def close(self) -> None:
        """End the coroutine where it stands, its clean-up included; whatever that raises or waits for moves nobody.

        From the inside out, one function at a time: closing the outermost alone would leave an inner one, whose
        clean-up waits, behind.
        """
        for _ in range(CLOSINGS_MAX):
            inner: object = self.coro
            while inspect.iscoroutine(awaited := getattr(inner, "cr_await", None)) and awaited.cr_frame is not None:
                inner = awaited
            with contextlib.suppress(BaseException):
                cast("Coroutine[object, object, object]", inner).close()
            if getattr(self.coro, "cr_frame", None) is None:
                return

    def __repr__(self) -> str:
        return f"<Task {self.address or 'root'}>"


class Scheduler(Protocol):
    """What scopes, nurseries, events and channels need of the kernel."""

    @property
    def name(self) -> str:
        """What messages call the run."""
        ...

    @property
    def is_closed(self) -> bool:
        """True once the run was dropped: nothing may wait any more."""
        ...

    def speaking(self) -> Task:
        """The task that is speaking; raises ``RunClosed`` when none of this run is."""
        ...

    def now_at(self) -> float:
        """The time of the event being fed; raises ``RunClosed`` as ``speaking`` does."""
        ...

    def reschedule(self, task: Task, value: object = None, error: BaseException | None = None) -> None:
        """Let a waiting task go on, with a value or an error."""
        ...

    def interrupt(self, task: Task) -> None:
        """Throw ``Cancelled`` into a task, if it waits for something that can be given up."""
        ...

    def spawn(self, task: Task) -> None:
        """Put a fresh task at the end of the queue."""
        ...

    def set_timer(self, address: str, timer: Sleep, fire: Callable[[], None]) -> None:
        """Ask for a timer and call ``fire`` when its time has come."""
        ...

    def set_due(self, address: str, deadline_at: float, fire: Callable[[], None]) -> None:
        """Call ``fire`` once everybody who is ready now has run."""
        ...

    def drop_timer(self, address: str) -> None:
        """Give a timer up."""
        ...


class Asked(msgspec.Struct, eq=False):
    """A command waiting for its outcome, with what is known of its attempts.

    ``task`` is who waits, None for a scope's deadline; ``seq`` that of the event that led to it.
    ``retry_at`` is when the next attempt is due (0: at once), in seconds since the epoch; ``error`` is the last one's.
    Of a step that may be made once only, ``is_started`` says that an attempt may have happened, ``is_in_doubt`` that
    nobody will ever know but a person; ``entry`` is what is due for it when the run ends.
    """

    address: str
    command: Command
    task: Task | None
    seq: int
    attempt_count: int = 0
    fault_count: int = 0
    retry_at: float = 0.0
    error: ErrorRecord | None = None
    is_started: bool = False
    is_in_doubt: bool = False
    entry: Registered | None = None
    _record: CallRecord | None = None

    @property
    def record(self) -> CallRecord:
        """What to keep of the call beside its outcome; made once, so live feeding can compare by identity."""
        if self._record is None:
            self._record = _record_of(self.command)
        return self._record

    @property
    def is_once(self) -> bool:
        """True for a step that is never made again by itself."""
        return isinstance(self.command, Step) and self.command.is_once

    def is_record(self, record: CallRecord) -> bool:
        """True when this very object made the record, as in live running."""
        return record is self._record

    def __repr__(self) -> str:
        return f"<Asked {self.address} {name_of(self.command)}>"


class Abandoned:
    """The run no longer waits for this address: end the call if it is still on its way."""

    __slots__ = ("address",)

    def __init__(self, address: str) -> None:
        self.address = address

    def __repr__(self) -> str:
        return f"<Abandoned {self.address}>"


Order = Asked | Abandoned


def name_of(command: Command) -> str:
    """What events and messages call a command."""
    return command.name if isinstance(command, Sleep) else command.call.name


def payload_of(command: Command) -> bytes:
    """A command's arguments as JSON."""
    return b"[]" if isinstance(command, Sleep) else command.call.payload


def _record_of(command: Command) -> CallRecord:
    if isinstance(command, Sleep):
        return CallRecord(name=command.name, where=command.where)
    payload, name = command.call.payload, command.call.target.name
    if len(payload) <= ARGS_KEPT_MAX:
        return CallRecord(name=name, where=command.where, args=msgspec.Raw(payload))
    return CallRecord(name=name, where=command.where, digest=digest_of(payload), size=len(payload))
