"""Inboxes: what others send to a run under one name, kept until a task takes it.

The law of this file: what comes is taken once, first come, first served, and none is lost: not when it comes before
anybody waits, and not when the scope of whoever takes it is cancelled at the same moment. Taking one is not journaled,
because a replay takes the same ones in the same order.
"""

from __future__ import annotations

from collections import deque

from flowtx_engine.kernel.tasks import TURN, Scheduler, Task, Wait
from flowtx_engine.kernel.waits import checkpoint_if_cancelled


class Inbox:
    """Signals or updates of one name."""

    __slots__ = ("_run", "_tasks", "name", "values")

    def __init__(self, run: Scheduler, name: str) -> None:
        self.name = name
        self.values: deque[object] = deque()
        self._run = run
        self._tasks: dict[Task, None] = {}

    def put(self, value: object) -> None:
        """One has come: hand it to who has waited longest, or keep it."""
        task = next(iter(self._tasks), None)
        if task is None:
            self.values.append(value)
        else:
            del self._tasks[task]
            self._run.reschedule(task, value)

    async def take(self) -> object:
        """The next one, waiting for it."""
        await checkpoint_if_cancelled(self._run)
        if self.values:
            value = self.values.popleft()
            await TURN  # lets others run, and cannot be cancelled: what was taken is not lost
            return value
        task = self._run.speaking()
        self._tasks[task] = None

        def abort() -> bool:
            del self._tasks[task]
            return True

        return await Wait(abort, f"signal {self.name}")

    def __repr__(self) -> str:
        return f"<Inbox {self.name}, {len(self.values)} kept, {len(self._tasks)} waiting>"
