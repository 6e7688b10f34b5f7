"""Cancel scopes: parts of a workflow that are cancelled as one, by hand or at a deadline.

The law of this file: as in trio, a cancellation is thrown into whatever waits inside the scope, again and again until
the scope is left, and is caught there and nowhere else. A deadline is an instant of the run's own time: entering the
scope fixes it and asks for a timer at the scope's address, which the journal's ``Fired`` brings back. So a restart does
not extend it, and a replay cancels where the first run did.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from flowtx_dsl.commands import Sleep
from flowtx_dsl.errors import TooSlowError, WorkflowError
from flowtx_dsl.steps import seconds_of
from flowtx_dsl.structured import CancelScope
from flowtx_engine.kernel.tasks import Scheduler, Status, split_cancelled


class Scope(CancelScope):
    """A scope; it is entered at most once. ``fails`` lets it raise ``TooSlowError`` where it has caught."""

    __slots__ = (
        "_after_s",
        "_deadline_at",
        "_fails",
        "_has_been_entered",
        "_is_called",
        "_reason",
        "_run",
        "_shield",
        "_timer",
        "_where",
        "cancelled_caught",
        "status",
    )

    def __init__(
        self,
        run: Scheduler,
        *,
        deadline_at: float = math.inf,
        after_s: float = math.inf,
        shield: bool = False,
        fails: bool = False,
        where: str = "",
    ) -> None:
        self.status: Status | None = None
        self.cancelled_caught = False
        self._run = run
        self._deadline_at = deadline_at
        self._after_s = after_s
        self._shield = shield
        self._fails = fails
        self._where = where
        self._has_been_entered = False
        self._is_called = False
        self._reason = ""
        self._timer = ""

    # -- the block

    def __enter__(self) -> Self:
        self.enter(self._run.speaking().next_address())
        return self

    if not TYPE_CHECKING:  # for checkers there is no such thing, and they say so before anything runs

        async def __aenter__(self) -> NoReturn:
            """Say what an ``async with`` should have been."""
            raise WorkflowError(
                f"{self._run.name}: a cancel scope waits for nothing, so it is entered without `async`",
                remedy="Write with tx.move_on_after(seconds) as scope, and likewise for the other scopes.",
            )

        async def __aexit__(self, *_: object) -> None:
            """Python asks for it before it enters; never called."""

    def enter(self, address: str) -> Status:
        """Enter in the task that is speaking; the scope's timer, if it needs one, stands at this address."""
        task = self._run.speaking()
        if self._has_been_entered:
            raise WorkflowError(
                f"{self._run.name}: a cancel scope was entered twice",
                remedy="Make one for each `with`: each scope may be used for a single block.",
            )
        self._has_been_entered = True
        if self._after_s != math.inf:
            self._deadline_at = self._run.now_at() + self._after_s
            self._after_s = math.inf
        if self._run.now_at() >= self._deadline_at:
            self.call("")
        self.status = Status(task.status, is_called=self._is_called, shield=self._shield, reason=self._reason)
        task.enter(self.status)
        self._ask_timer(address)
        return self.status

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._run.is_closed or kind is GeneratorExit:  # the run was dropped
            return False
        rest = self.close(error)
        if rest is None:
            if self._fails and self.cancelled_caught:
                raise TooSlowError(self._too_slow()) from None
            return True
        if rest is error:
            return False
        return raise_instead(rest)

    def close(self, error: BaseException | None) -> BaseException | None:
        """Leave the scope with an error or None: what is left of it once this scope has caught its own."""
        task = self._run.speaking()
        status = self.status
        if status is None or not status.encloses(task.status):
            return _misnested(f"{self._run.name}: {task!r} left a cancel scope that it is not in", error)
        if task.status is not status:
            error = _misnested(f"{self._run.name}: {task!r} left a cancel scope before one inside it", error)
        if status.parent is not None:
            task.enter(status.parent)
        if error is not None and status.is_cancelled and not status.sees_parent_cancelled:
            has_caught, error = split_cancelled(error)
            self.cancelled_caught = self.cancelled_caught or has_caught
        self.status = None
        status.close(self._run)
        self._drop_timer()
        return error

    def _too_slow(self) -> str:
        if self._deadline_at == math.inf:
            return f"{self._run.name}: the block was cancelled ({self._where})"
        return f"{self._run.name}: the block had not ended at {_datetime_of(self._deadline_at)} ({self._where})"

    # -- words

    @property
    def deadline(self) -> datetime | None:
        """When the scope cancels itself; raises ``WorkflowError`` while only the time after entering it is known."""
        self._check_absolute()
        return None if self._deadline_at == math.inf else _datetime_of(self._deadline_at)

    @deadline.setter
    def deadline(self, deadline: datetime | None) -> None:
        address = self._run.speaking().next_address()  # taken in any case, so that no timing moves what follows
        self._check_absolute()
        self._deadline_at = math.inf if deadline is None else seconds_of(deadline, "scope.deadline = ")
        if self.status is not None:
            self._drop_timer()
            self._ask_timer(address)

    def _check_absolute(self) -> None:
        if self._after_s != math.inf:
            raise WorkflowError(
                f"{self._run.name}: a cancel scope of {self._after_s:g} s that was not entered does not have an "
                f"absolute deadline ({self._where})",
                remedy="Enter it first, or make it with tx.move_on_at or tx.fail_at.",
            )

    @property
    def shield(self) -> bool:
        """Whether cancellations from outside stay outside."""
        return self._shield

    @shield.setter
    def shield(self, shield: bool) -> None:
        self._run.speaking()
        self._shield = shield
        if self.status is not None:
            self.status.shield = shield
            self.status.recalculate(self._run)

    @property
    def cancel_called(self) -> bool:
        """Whether it was cancelled; a deadline that has passed counts even before its timer fires."""
        if (
            not self._is_called
            and self._deadline_at != math.inf
            and (self.status is not None or not self._has_been_entered)
            and self._run.now_at() >= self._deadline_at
        ):
            self.call("")
        return self._is_called

    def cancel(self, reason: str = "") -> None:
        """Cancel everything inside."""
        self._run.speaking()
        self.call(reason)

    def call(self, reason: str) -> None:
        """``cancel``, for those who need not be speaking: a deadline, a nursery, the engine."""
        if self._is_called:
            return
        self._is_called = True
        self._reason = reason
        self._drop_timer()
        if self.status is not None:
            self.status.is_called = True
            self.status.reason = self.status.reason or reason
            self.status.recalculate(self._run)

    def _ask_timer(self, address: str) -> None:
        status = self.status
        assert status is not None, "a scope that is not entered has no timer"
        status.look = None
        if self._deadline_at != math.inf and not self._is_called:
            self._timer = address
            if self._deadline_at <= self._run.now_at():
                status.look = self._look
                self._run.set_due(address, self._deadline_at, self._fire)
                return
            timer = Sleep(until_at=self._deadline_at, where=self._where, name="deadline")
            self._run.set_timer(address, timer, self._fire)

    def _look(self) -> None:
        if self._run.now_at() >= self._deadline_at:
            self.call("")

    def _fire(self) -> None:
        self._timer = ""
        self.call("")

    def _drop_timer(self) -> None:
        if self._timer:
            self._run.drop_timer(self._timer)
            self._timer = ""

    def __repr__(self) -> str:
        state = "active" if self.status is not None else "left" if self._has_been_entered else "not entered"
        return f"<CancelScope {state}{', cancelled' if self._is_called else ''}>"


def raise_instead(error: BaseException) -> bool:
    """Raise in place of what a block raised, without chaining the two: the one is made of the other."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context


def _misnested(what: str, error: BaseException | None) -> BaseException:
    found = WorkflowError(
        what, remedy="Leave scopes and nurseries in the opposite order, in the task that entered them."
    )
    found.__context__ = error
    return found


def _datetime_of(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
