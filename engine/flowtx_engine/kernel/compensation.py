"""Compensation: what is due should the run fail, and in which order it is done. Pure.

The law of this file: the order is read off the addresses, so it depends on no branch's timing.

1. Within one task newest first: what it asked for later is taken back earlier.
2. What ran in parallel is taken back in parallel: all branches of one nursery at once, each by rule 1.
3. A nursery as a whole stands at its own number in its task's order: what the task asked for with a higher number,
   inside the nursery's block or after it, is taken back first; what it asked for before, last.

So for ``0``, ``1/0/0``, ``1/0/1``, ``1/1/0`` and ``2``: first ``2``, then ``1/0/1`` and after it ``1/0/0``, beside
``1/1/0``, and when both branches are done, ``0``.

A compensation is due from the moment its step was asked until the step is refused, and it stays due when its branch has
ended, when the step was given up, and when nobody knows whether the step happened (its result is then ``UNKNOWN``).
"""

from __future__ import annotations

from flowtx_dsl.commands import Compensate, Step
from flowtx_dsl.targets import Call


class Registered:
    """A compensation that is due should the run fail; ``result`` is its step's, None while unknown."""

    __slots__ = ("address", "call", "result", "step")

    def __init__(self, address: str, step: Step, call: Call) -> None:
        self.address = address
        self.step = step
        self.call = call
        self.result: bytes | None = None

    @property
    def command(self) -> Compensate:
        """What to ask for."""
        step = self.step
        return Compensate(
            call=self.call,
            where=step.where,
            retry=step.retry,
            timeout_s=step.timeout_s,
            step=step.call,
            result=self.result,
        )


class TaskUndo:
    """What one task did, by its number: a step, or a nursery's branches by their names."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: dict[int, Registered | dict[str, TaskUndo]] = {}

    def newest_first(self) -> list[Registered | list[TaskUndo]]:
        """What to take back, one after another; a list of tasks is taken back in parallel."""
        items = (self.items[number] for number in sorted(self.items, reverse=True))
        return [item if isinstance(item, Registered) else list(item.values())[::-1] for item in items]


def tree_of(registered: list[Registered]) -> TaskUndo:
    """The tree of what is due; an address is numbers and names of branches by turns, ``nursery/branch/.../number``."""
    root = TaskUndo()
    for entry in registered:
        *path, number = entry.address.split("/")
        task = root
        for nursery, branch in zip(path[::2], path[1::2], strict=True):
            branches = task.items.setdefault(int(nursery), {})
            assert isinstance(branches, dict), f"{entry.address}: {nursery} is a step and a nursery"
            task = branches.setdefault(branch, TaskUndo())
        task.items[int(number)] = entry
    return root
