"""Settling: what is due once the workflow has ended, and in which order it is done. Pure.

The law of this file: the order is read off the addresses, so it depends on no branch's timing.

A failed run takes back what it did (compensation), a successful one makes it final (confirmation: messages that wait
for success, and the second half of try and confirm).

1. Within one task compensation goes newest first, confirmation oldest first.
2. What ran in parallel is settled in parallel: all branches of one nursery at once, each by rule 1.
3. A nursery as a whole stands at its own number in its task's order: what the task asked for with a higher number,
   inside the nursery's block or after it, is taken back first; what it asked for before, last.

So for ``0``, ``1/0/0``, ``1/0/1``, ``1/1/0`` and ``2`` compensation does first ``2``, then ``1/0/1`` and after it
``1/0/0``, beside ``1/1/0``, and when both branches are done, ``0``.

A compensation is due from the moment its step was asked until the step is refused, and it stays due when its branch has
ended, when the step was given up, and when nobody knows whether the step happened (its result is then ``UNKNOWN``). A
step that has a confirmation is never left undecided: in a successful run it is confirmed when it succeeded, and taken
back when it was given up.
"""

from __future__ import annotations

from collections.abc import Iterable

from flowtx_dsl.commands import Compensate, Confirm, Settling, Step

SUFFIXES = {Compensate: "/c", Confirm: "/m"}
"""Where what settles a step stands: behind the step's own address."""


class Registered:
    """Something that is due when the run ends.

    ``source`` is a step, with ``result`` what it returned (None while unknown), or what was registered without one.
    ``is_void`` says that the step turned out not to have happened, after what is due had been settled upon.
    """

    __slots__ = ("address", "is_void", "result", "source")

    def __init__(self, address: str, source: Step | Settling) -> None:
        self.address = address
        self.source = source
        self.result: bytes | None = None
        self.is_void = False

    @property
    def compensation(self) -> Compensate | None:
        """What to ask for should the run fail."""
        source = self.source
        if isinstance(source, Step):
            if source.compensation is None:
                return None
            return Compensate(
                call=source.compensation,
                where=source.where,
                retry=source.retry,
                timeout_s=source.timeout_s,
                step=source.call,
                result=self.result,
                key=f"{source.key}{SUFFIXES[Compensate]}" if source.key else "",
            )
        return source if isinstance(source, Compensate) else None

    @property
    def confirmation(self) -> Settling | None:
        """What to ask for once the run has succeeded."""
        source = self.source
        if not isinstance(source, Step):
            return source if isinstance(source, Confirm) else None
        if source.confirmation is None:
            return None
        if self.result is None:  # it was given up: whatever it reserved must not stay reserved
            return self.compensation
        return Confirm(
            call=source.confirmation,
            where=source.where,
            retry=source.retry,
            timeout_s=source.timeout_s,
            step=source.call,
            result=self.result,
            key=f"{source.key}{SUFFIXES[Confirm]}" if source.key else "",
        )


class Due:
    """One thing to do, and where it stands; what it is can change while nobody knows what became of its step."""

    __slots__ = ("_confirms", "_entry", "step_address")

    def __init__(self, entry: Registered, *, confirms: bool) -> None:
        self.step_address = entry.address
        self._entry = entry
        self._confirms = confirms

    @property
    def command(self) -> Settling | None:
        """What to ask for; None for what must not be taken back, because it never was."""
        if self._entry.is_void:
            return None
        return self._entry.confirmation if self._confirms else self._entry.compensation

    @property
    def address(self) -> str:
        """Where it is asked for."""
        command = self.command
        assert command is not None, self._entry.address
        return f"{self.step_address}{SUFFIXES[type(command)]}"


class TaskDue:
    """What one task left to do, by its number: one thing, or a nursery's branches by their names."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: dict[int, Due | dict[str, TaskDue]] = {}

    def in_order(self, *, is_newest_first: bool) -> list[Due | list[TaskDue]]:
        """What to do, one after another; a list of tasks is done in parallel."""
        items = (self.items[number] for number in sorted(self.items, reverse=is_newest_first))
        return [item if isinstance(item, Due) else _branches(item, is_newest_first) for item in items]


def _branches(branches: dict[str, TaskDue], is_newest_first: bool) -> list[TaskDue]:
    tasks = list(branches.values())
    return tasks[::-1] if is_newest_first else tasks


def compensations_of(entries: Iterable[Registered]) -> TaskDue | None:
    """The tree of what is to be taken back; None when nothing is."""
    return _tree([Due(entry, confirms=False) for entry in entries])


def confirmations_of(entries: Iterable[Registered]) -> TaskDue | None:
    """The tree of what is to be done after success; None when nothing is."""
    return _tree([Due(entry, confirms=True) for entry in entries])


def _tree(dues: list[Due]) -> TaskDue | None:
    """An address is numbers and names of branches by turns, ``nursery/branch/.../number``."""
    root = TaskDue()
    for due in dues:
        if due.command is None:
            continue
        *path, number = due.step_address.split("/")
        task = root
        for nursery, branch in zip(path[::2], path[1::2], strict=True):
            branches = task.items.setdefault(int(nursery), {})
            assert isinstance(branches, dict), f"{due.step_address}: {nursery} is a step and a nursery"
            task = branches.setdefault(branch, TaskDue())
        task.items[int(number)] = due
    return root if root.items else None
