"""Savepoints: a part of a workflow that takes back what it did when it raises, while the run goes on.

The law of this file: inside is what the task asked for between entering and leaving, and what the branches of nurseries
opened there asked for. It is read off the addresses. What is taken back here is not taken back again, and messages that
were registered inside are not sent.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol

from flowtx_engine.kernel.plain_with import OnlyAsyncWith
from flowtx_engine.kernel.scopes import Scope
from flowtx_engine.kernel.settling import Registered, TaskDue, compensations_of
from flowtx_engine.kernel.tasks import Scheduler, Task


class Restarting(BaseException):
    """The run ends here and begins again: what it has done stays done. Let it pass, as ``Cancelled``."""

    def __init__(self, payload: bytes) -> None:
        super().__init__("the run begins again")
        self.payload = payload


class Settler(Scheduler, Protocol):
    """What a savepoint needs of the kernel."""

    @property
    def registered(self) -> dict[str, Registered]:
        """What is due when the run ends, by address."""
        ...

    async def settle(self, due: TaskDue, is_newest_first: bool) -> None:
        """Do what is due."""
        ...


class Savepoint(OnlyAsyncWith, AbstractAsyncContextManager[None, bool]):
    """The block."""

    __slots__ = ("_first", "_run", "_task", "_where")

    _word = "tx.savepoint()"

    def __init__(self, run: Settler, where: str) -> None:
        self._run = run
        self._where = where
        self._task: Task | None = None
        self._first = 0

    async def __aenter__(self) -> None:
        """What the task asks for from here on is inside."""
        self._task = self._run.speaking()
        self._first = self._task.count

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """When the block raises, take back what was done inside, shielded, and let the error pass."""
        if self._run.is_closed or error is None or isinstance(error, GeneratorExit | Restarting):
            return False
        task = self._task
        assert task is not None, "left, but never entered"
        due = compensations_of(self._forget(task))
        with Scope(self._run, shield=True, where=self._where):
            if due is not None:
                await self._run.settle(due, True)
        return False

    def _forget(self, task: Task) -> list[Registered]:
        """What was registered inside, no longer due."""
        inside = range(self._first, task.count)
        registered = self._run.registered
        return [registered.pop(address) for address in list(registered) if _number_of(address, task) in inside]


def _number_of(address: str, task: Task) -> int:
    """Which of a task's own numbers an address stands under, -1 for none."""
    if not address.startswith(task.prefix):
        return -1
    number = address[len(task.prefix) :].partition("/")[0]
    return int(number) if number.isdigit() else -1
