"""Nurseries: branches that run in parallel and end together.

The law of this file: as in trio, no branch outlives its nursery, and no error is lost. The first failure cancels the
rest; when all have ended, whatever failed is raised as one group, even when it is one. The block's own code counts as a
branch. Who starts a branch gives it its address; see ``tasks``.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TypeVarTuple

from flowtx_dsl.commands import Step
from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.structured import Nursery
from flowtx_engine.kernel.plain_with import OnlyAsyncWith
from flowtx_engine.kernel.scopes import Scope, raise_instead
from flowtx_engine.kernel.tasks import TURN, Ask, Scheduler, Status, Task, Wait

Ts = TypeVarTuple("Ts")


class Branches(Nursery):
    """An open nursery."""

    __slots__ = (
        "_children",
        "_count",
        "_errors",
        "_is_block_running",
        "_is_closed",
        "_is_parent_waiting",
        "_parent",
        "_run",
        "_scope",
        "_status",
        "address",
        "cancel_scope",
        "where",
    )

    def __init__(self, run: Scheduler, parent: Task, address: str, scope: Scope, status: Status, where: str) -> None:
        self.cancel_scope = self._scope = scope
        self._run = run
        self._parent = parent
        self.address = address
        self.where = where
        self._status = status
        self._children: dict[Task, None] = {}
        self._count = 0
        self._errors: list[BaseException] = []
        self._is_block_running = True
        self._is_parent_waiting = False
        self._is_closed = False

    @property
    def is_cancelled(self) -> bool:
        """True when waiting inside it is refused."""
        return self._status.is_cancelled

    @property
    def branches(self) -> list[Task]:
        """The branches that have not ended, in the order they were started."""
        return list(self._children)

    def start_soon(self, fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Start a branch."""
        address = self._next_address()
        given: object = fn
        if not callable(given):
            if inspect.iscoroutine(given):
                given.close()  # it was never going to be awaited, and this error says why
            raise WorkflowError(
                f"{self._run.name}: nursery.start_soon takes an async helper, got {given!r}",
                remedy="Pass the function, uncalled: nursery.start_soon(ship, item), not start_soon(ship(item)).",
            )
        coro = fn(*args)
        if not inspect.iscoroutine(coro):
            raise WorkflowError(
                f"{self._run.name}: nursery.start_soon takes an async helper, {fn!r} returned {coro!r}",
                remedy="Declare it with `async def`; start a step with nursery.start_step(fn, ...).",
            )
        self._start(coro, address)

    def _start_step(self, step: Step) -> None:
        address = self._next_address()
        self._start(_ask(step), address)

    def _next_address(self) -> str:
        starter = self._run.speaking()
        if self._is_closed:
            raise WorkflowError(
                f"{self._run.name}: Nursery is closed to new arrivals: nursery {self.address} has ended",
                remedy="Start branches inside the nursery's block, or from branches that still run.",
            )
        if starter is self._parent:
            count = self._count
            self._count = count + 1
            return f"{self.address}/{count}"
        number = starter.next_address().rpartition("/")[2]
        return f"{self.address}/{starter.address.replace('.', '..').replace('/', '.')}.{number}"

    def _start(self, coro: Coroutine[object, object, object], address: str) -> None:
        task = Task(coro, address, self._status, self._child_ended)
        self._children[task] = None
        self._run.spawn(task)

    def _child_ended(self, task: Task, error: BaseException | None) -> None:
        del self._children[task]
        if error is not None:
            self._add(error)
        self._check_closed()

    def _add(self, error: BaseException) -> None:
        self._errors.append(error)
        self._scope.call(f"a branch of nursery {self.address} raised {type(error).__name__}")

    def _check_closed(self) -> None:
        if self._is_block_running or self._children:
            return
        self._is_closed = True
        if self._is_parent_waiting:
            self._is_parent_waiting = False
            self._run.reschedule(self._parent)

    def abandon(self) -> None:
        """Its task ended without leaving the block, which only misuse can bring about: nobody is left to wait."""
        self._is_closed = True
        self._scope.call("the task that opened the nursery ended without leaving it")

    async def block_ended(self, error: BaseException | None) -> BaseException | None:
        """Wait for every branch, whatever happens; all errors as one group, or None."""
        if error is not None:
            self._add(error)
        self._is_block_running = False
        self._check_closed()
        if self._is_closed:
            await TURN
        else:
            self._is_parent_waiting = True
            await Wait(
                _refuse, f"nursery {self.address}"
            )  # a cancellation reaches the branches; the nursery waits for them all the same
        nurseries = self._parent.nurseries
        assert nurseries is not None
        assert nurseries[-1] is self, "nurseries were left in another order than they were entered"
        nurseries.pop()
        if not self._errors:
            return None
        errors, self._errors = self._errors, []  # nothing keeps an error alive that keeps this nursery alive
        return BaseExceptionGroup("branches failed", errors)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"{len(self._children)} branches"
        return f"<Nursery {self.address} of {self._run.name}, {state}>"


class NurseryBlock(OnlyAsyncWith, AbstractAsyncContextManager[Nursery, bool]):
    """``tx.open_nursery()``: the block around the branches."""

    __slots__ = ("_nursery", "_run", "_scope", "_where")

    _word = "tx.open_nursery()"

    def __init__(self, run: Scheduler, where: str) -> None:
        self._run = run
        self._where = where

    async def __aenter__(self) -> Nursery:
        """Open it; no checkpoint."""
        task = self._run.speaking()
        address = task.next_address()
        self._scope = Scope(self._run, where=self._where)
        nursery = Branches(self._run, task, address, self._scope, self._scope.enter(address), self._where)
        if task.nurseries is None:
            task.nurseries = []
        task.nurseries.append(nursery)
        self._nursery = nursery
        return nursery

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Wait for the branches, and raise what is left of their errors."""
        if self._run.is_closed or kind is GeneratorExit:  # the run was dropped
            return False
        rest = self._scope.close(await self._nursery.block_ended(error))
        if rest is None:
            return True
        return False if rest is error else raise_instead(rest)


async def _ask(step: Step) -> object:
    return await Ask(step)


def _refuse() -> bool:
    return False
