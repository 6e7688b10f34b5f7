"""What tasks of one run wait for between themselves: checkpoints and events.

The law of this file: nothing here is journaled and nothing takes a number. Tasks wake in the order they came.
"""

from __future__ import annotations

from flowtx_dsl.errors import Cancelled
from flowtx_engine.kernel.tasks import TURN, Scheduler, Task, Wait


async def checkpoint(run: Scheduler) -> None:
    """Let others run, then take a cancellation that is due, as trio's does.

    One that a shield holds off before it arrives is forgotten.
    """
    task = run.speaking()
    await TURN
    if task.status.is_cancelled:
        try:
            await Wait(_accept, "a cancellation")
        except Cancelled:
            if task.status.is_cancelled:
                raise


async def checkpoint_if_cancelled(run: Scheduler) -> None:
    """Raise ``Cancelled`` if one is due; else nothing at all.

    Where a shield holds it off before it arrives, this returns; trio (0.35) fails an assertion of its own there.
    """
    if run.speaking().status.is_cancelled:
        await checkpoint(run)


def _accept() -> bool:
    return True


class HappensOnce:
    """An event, as ``tx.Event()`` makes it."""

    __slots__ = ("_is_set", "_run", "_tasks")

    def __init__(self, run: Scheduler) -> None:
        self._run = run
        self._is_set = False
        self._tasks: dict[Task, None] = {}

    def is_set(self) -> bool:
        """True once it was set."""
        return self._is_set

    def set(self) -> None:
        """Wake everybody who waits, in the order they came."""
        self._run.speaking()
        self._is_set = True
        tasks, self._tasks = self._tasks, {}
        for task in tasks:
            self._run.reschedule(task)

    async def wait(self) -> None:
        """Wait until it is set."""
        if self._is_set:
            await checkpoint(self._run)
            return
        task = self._run.speaking()
        self._tasks[task] = None

        def abort() -> bool:
            del self._tasks[task]
            return True

        await Wait(abort, "an event")

    def __repr__(self) -> str:
        return f"<Event {'set' if self._is_set else f'not set, {len(self._tasks)} waiting'}>"
