"""A run as a person sees it: its tasks as a tree, what each waits for, and at which line of the source. Pure.

The law of this file: it reads and changes nothing, and what it gives is plain data. A run is looked at between two
events, when every task waits. Of a run whose code is not at hand, its journal alone tells what was tried and has no
outcome yet; what else it waits for, only the code knows.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection, Iterable, Iterator
from types import FrameType
from typing import Literal

import msgspec

from flowtx_dsl.commands import Compensate, Confirm, Sleep, Step
from flowtx_dsl.error_codec import ErrorRecord
from flowtx_engine.kernel import mismatch
from flowtx_engine.kernel.events import Attempted, Decided, Doubted, Ended, Event, Failed, Refused, Started, Succeeded
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.nurseries import Branches
from flowtx_engine.kernel.phases import PhaseName
from flowtx_engine.kernel.tasks import Asked, Task

WaitKind = Literal["step", "compensation", "confirmation", "sleep", "deadline", "start", "task", "nothing"]
"""``task``: for another task of the run, or a signal; ``nothing``: it goes on with the next event."""

_OURS = tuple(os.path.dirname(inspect.getfile(kind)) + os.sep for kind in (Kernel, Step))
"""The folders whose frames are the machinery's: whoever waits there was asked to by the line above."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something a run waits for: ``what`` in words, and ``where`` it was asked, ``file.py:41``.

    ``address`` is that of a call or timer. Of a call, ``attempt_count`` attempts have ended without an outcome, the
    last with ``error``; the next is due at ``due_at``, which for a timer is its end (seconds since the epoch, None: at
    once). ``is_on_its_way`` says that an attempt is being made now, ``needs_decision`` that none will be
    until a person has said what became of the last.
    """

    kind: WaitKind
    what: str
    where: str = ""
    address: str = ""
    attempt_count: int = 0
    due_at: float | None = None
    error: str = ""
    is_on_its_way: bool = False
    needs_decision: bool = False


class NurseryView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An open nursery, with the branches that have not ended."""

    address: str
    where: str = ""
    is_cancelled: bool = False
    branches: tuple[TaskView, ...] = ()


class TaskView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One task: ``address`` ("" for the workflow itself) and ``name``, what it waits for, and its open nurseries."""

    address: str
    name: str
    waits_for: Waiting | None = None
    nurseries: tuple[NurseryView, ...] = ()


class RunView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run: its tasks, and the deadlines of scopes that no task waits for.

    ``phase`` is "unknown" when only the journal was looked at. ``given_up`` are steps that no task waits for any more,
    but a person must decide what became of them before they can be taken back.
    """

    phase: PhaseName | Literal["unknown"]
    tasks: tuple[TaskView, ...] = ()
    deadlines: tuple[Waiting, ...] = ()
    given_up: tuple[Waiting, ...] = ()

    @property
    def waiting(self) -> list[Waiting]:
        """Everything that any task waits for, outermost first."""
        return [*_waiting(self.tasks), *self.deadlines, *self.given_up]


def _waiting(tasks: Iterable[TaskView]) -> Iterator[Waiting]:
    for task in tasks:
        if task.waits_for is not None:
            yield task.waits_for
        for nursery in task.nurseries:
            yield from _waiting(nursery.branches)


# -- a run in memory


def view_of(kernel: Kernel, *, in_flight: Collection[str] = ()) -> RunView:
    """A run as it stands; ``in_flight`` are the addresses whose attempts are being made."""
    if kernel.ended is not None:
        return RunView(phase=kernel.phase)
    return RunView(
        phase=kernel.phase,
        tasks=tuple(_task_view(task, in_flight) for task in _outermost(kernel.tasks)),
        deadlines=tuple(_asked_view(asked, in_flight) for asked in kernel.waiting if asked.task is None),
        given_up=tuple(_asked_view(one, in_flight) for one in kernel.undecided if not kernel.awaits(one.address)),
    )


def _outermost(tasks: list[Task]) -> list[Task]:
    """The tasks that are nobody's branches: the workflow itself, and what settles it at its end."""
    inner = {branch for task in tasks for nursery in _nurseries_of(task) for branch in nursery.branches}
    return [task for task in tasks if task not in inner]


def _nurseries_of(task: Task) -> list[Branches]:
    return [nursery for nursery in task.nurseries or () if isinstance(nursery, Branches)]


def _task_view(task: Task, in_flight: Collection[str]) -> TaskView:
    return TaskView(
        address=task.address,
        name=_name_of(task),
        waits_for=_waiting_of(task, in_flight),
        nurseries=tuple(_nursery_view(nursery, in_flight) for nursery in _nurseries_of(task)),
    )


def _nursery_view(nursery: Branches, in_flight: Collection[str]) -> NurseryView:
    return NurseryView(
        address=nursery.address,
        where=mismatch.short(nursery.where) if nursery.where else "",
        is_cancelled=nursery.is_cancelled,
        branches=tuple(_task_view(branch, in_flight) for branch in nursery.branches),
    )


def _waiting_of(task: Task, in_flight: Collection[str]) -> Waiting:
    if task.asked is not None:
        return _asked_view(task.asked, in_flight)
    frame = _frame_of(task)
    where = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}" if frame is not None else ""
    if not task.waits_for:
        return Waiting(kind="nothing", what="nothing", where=where)
    return Waiting(kind="task", what=task.waits_for, where=where)


def _asked_view(asked: Asked, in_flight: Collection[str]) -> Waiting:
    command = asked.command
    return Waiting(
        kind=_kind_of(asked),
        what=mismatch.spell(asked),
        # Of a word that a nursery speaks, start_soon(tx.step, ...), the line is ours.
        where=mismatch.short(command.where) if command.where and not command.where.startswith(_OURS) else "",
        address=asked.address,
        attempt_count=asked.attempt_count,
        due_at=command.until_at if isinstance(command, Sleep) else asked.retry_at or None,
        error=_first_line(asked.error),
        is_on_its_way=asked.address in in_flight,
        needs_decision=asked.is_in_doubt,
    )


def _kind_of(asked: Asked) -> WaitKind:
    match asked.command:
        case Step():
            return "step"
        case Compensate():
            return "compensation"
        case Confirm():
            return "confirmation"
        case Sleep() as timer:
            return timer.name


def _first_line(error: ErrorRecord | None) -> str:
    if error is None:
        return ""
    name, text = error.type.rpartition(":")[2], error.text.partition("\n")[0]
    return f"{name}: {text}" if text else name


def _name_of(task: Task) -> str:
    """What the task runs: the workflow's or helper's own name; nothing for what the engine runs itself."""
    code = getattr(task.coro, "cr_code", None)
    if code is None or code.co_filename.startswith(_OURS):
        return ""
    return str(code.co_qualname).rpartition("<locals>.")[2]


def _frame_of(task: Task) -> FrameType | None:
    """The innermost frame of the user's own code: the line that waits."""
    found: FrameType | None = None
    inner: object = task.coro
    while inspect.iscoroutine(inner):
        frame = inner.cr_frame
        if frame is not None and not frame.f_code.co_filename.startswith(_OURS):
            found = frame
        inner = inner.cr_await
    return found


# -- a journal without its code


def view_of_journal(events: Iterable[Event]) -> RunView:
    """What the journal alone knows: calls that were tried and have no outcome yet, each at its place in the tree."""
    tried: dict[str, Attempted | Doubted] = {}
    for event in events:
        match event.fact:
            case Attempted() | Doubted() as fact:
                tried[event.address] = fact
            case Succeeded() | Refused() | Failed() | Started() | Decided():
                tried.pop(event.address, None)
            case Ended():
                tried.clear()
            case _:
                pass
    return RunView(phase="unknown", tasks=tuple(_Place.of(tried).tasks()))


class _Place:
    """A task, as far as addresses tell: what it tried, and its nurseries' branches by their names."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.tried: list[Waiting] = []
        self.nurseries: dict[str, dict[str, _Place]] = {}

    @classmethod
    def of(cls, tried: dict[str, Attempted | Doubted]) -> _Place:
        """The whole tree; an address is numbers and names of branches by turns, with what settles a step behind it."""
        root = cls("")
        for address, fact in tried.items():
            step, kind = _step_and_kind(address)
            *path, _ = step.split("/")
            place = root
            for depth in range(0, len(path) - 1, 2):
                branches = place.nurseries.setdefault("/".join(path[: depth + 1]), {})
                place = branches.setdefault(path[depth + 1], cls("/".join(path[: depth + 2])))
            place.tried.append(_tried_view(address, kind, fact))
        return root

    def tasks(self) -> Iterator[TaskView]:
        """One task for each thing that was tried here: what is settled is settled in parallel."""
        nurseries = tuple(
            NurseryView(address=address, branches=tuple(view for place in branches.values() for view in place.tasks()))
            for address, branches in self.nurseries.items()
        )
        for waits_for in self.tried:
            yield TaskView(address=self.address, name="", waits_for=waits_for)
        if nurseries:
            yield TaskView(address=self.address, name="", nurseries=nurseries)


def _step_and_kind(address: str) -> tuple[str, WaitKind]:
    if address.endswith("/c"):
        return address[:-2], "compensation"
    return (address[:-2], "confirmation") if address.endswith("/m") else (address, "step")


def _tried_view(address: str, kind: WaitKind, fact: Attempted | Doubted) -> Waiting:
    return Waiting(
        kind=kind,
        what=mismatch.spell_record(fact.call),
        where=mismatch.short(fact.call.where) if fact.call.where else "",
        address=address,
        attempt_count=fact.attempt,
        due_at=fact.retry_at if isinstance(fact, Attempted) else None,
        needs_decision=isinstance(fact, Doubted),
        error=_first_line(fact.error),
    )
