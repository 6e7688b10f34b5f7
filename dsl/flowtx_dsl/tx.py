"""Tx: the words a workflow is written in.

The law of this file: every word either answers from what is already in the journal's past (now, random, uuid4) or asks
the run for a command and waits. Nothing here performs anything. The names are trio's where trio has the thing.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import FrameType
from typing import Any, Protocol, TypeVar, TypeVarTuple, overload
from uuid import UUID

from flowtx_dsl.commands import Command, Sleep, Step
from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.policies import Retry
from flowtx_dsl.targets import HttpTarget, step_target_of, target_of

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

DEFAULT_RETRY = Retry()

_getframe = sys._getframe  # pyright: ignore[reportPrivateUsage]  # what inspect.currentframe() calls, at half the price


class TakesResult(Protocol[*Ts]):
    """A compensation that is also given what its step returned, or ``UNKNOWN``, as ``result=``."""

    def __call__(self, *args: *Ts, result: Any) -> object:
        """Take the step back."""
        ...


class Run(Protocol):
    """What the words need of the run they are spoken in; the kernel is one."""

    @property
    def gid(self) -> str:
        """The transaction's id."""
        ...

    def now_at(self) -> float:
        """The time of the event that is being worked on, in seconds since the epoch."""
        ...

    def dice(self) -> random.Random:
        """The running task's own generator, seeded by gid and address."""
        ...

    def ask(self, command: Command) -> Awaitable[object]:
        """Something that, awaited, hands the command over and waits for its outcome."""
        ...


class Tx:
    """One transaction, as its workflow sees it."""

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def gid(self) -> str:
        """The transaction's id."""
        return self._run.gid

    @overload
    async def step(
        self,
        fn: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        compensate: Callable[[*Ts], object] | TakesResult[*Ts] | HttpTarget[Any] | None = None,
        compensate_refused: bool = False,
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
    ) -> T: ...
    @overload
    async def step(
        self,
        fn: HttpTarget[T],
        *args: *Ts,
        compensate: Callable[[*Ts], object] | TakesResult[*Ts] | HttpTarget[Any] | None = None,
        compensate_refused: bool = False,
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
    ) -> T: ...
    @overload
    async def step(
        self,
        fn: Callable[[*Ts], T],
        *args: *Ts,
        compensate: Callable[[*Ts], object] | TakesResult[*Ts] | HttpTarget[Any] | None = None,
        compensate_refused: bool = False,
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
    ) -> T: ...
    async def step(
        self,
        fn: Callable[..., object] | HttpTarget[Any],
        *args: *Ts,  # pyright: ignore[reportInvalidTypeVarUse]  # mypy wants the overloads' own variable
        compensate: Callable[..., object] | TakesResult[*Ts] | HttpTarget[Any] | None = None,
        compensate_refused: bool = False,
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
    ) -> Any:
        """Do ``fn(*args)`` once, as far as this workflow can see, and return its result.

        ``fn`` is an async function (run on trio), a sync one (run in a thread) or a target like ``flowtx.http(url)``.
        ``compensate`` takes the step back with the same arguments should the transaction fail later; it is registered
        now, so a step whose outcome is unknown is compensated too, and a refused one only with ``compensate_refused``.
        ``timeout_s`` limits one attempt, in seconds.

        Raises ``Refused`` when the participant refused, whatever the last attempt raised when ``retry`` gives the step
        up, ``PayloadError`` when an argument cannot be journaled, ``WorkflowError`` when an argument is missing.
        """
        where = _where(_getframe())
        call = step_target_of(fn).call(args)
        if timeout_s is not None and not timeout_s > 0:
            raise WorkflowError(f"step {call.name}: timeout_s={timeout_s!r}, expected seconds above zero, or None")
        return await self._run.ask(
            Step(
                call=call,
                where=where,
                retry=retry,
                timeout_s=timeout_s,
                compensation=None if compensate is None else target_of(compensate).call(args),
                compensates_refused=compensate_refused,
            )
        )

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds of the transaction's time; a crash does not lengthen it.

        Raises ``WorkflowError`` for what is not a finite number of at least zero.
        """
        if not _is_length(seconds):
            raise WorkflowError(
                f"tx.sleep({seconds!r}): expected a finite number of seconds, at least zero",
                remedy="Pass seconds; those of a timedelta are delta.total_seconds().",
            )
        await self._run.ask(Sleep(until_at=self._run.now_at() + seconds, where=_where(_getframe())))

    async def sleep_until(self, instant: datetime) -> None:
        """Wait until an instant; raises ``WorkflowError`` for a datetime without a time zone."""
        if instant.tzinfo is None:
            raise WorkflowError(
                f"tx.sleep_until({instant!r}): the instant has no time zone",
                remedy="Give it one: datetime(..., tzinfo=UTC), or tx.now() + timedelta(...).",
            )
        await self._run.ask(Sleep(until_at=instant.timestamp(), where=_where(_getframe())))

    def now(self) -> datetime:
        """The time, in UTC, of the journal's event that brought the run here; the same at every replay."""
        return datetime.fromtimestamp(self._run.now_at(), UTC)

    @property
    def random(self) -> random.Random:
        """The running task's dice: the same throws at every replay."""
        return self._run.dice()

    def uuid4(self) -> UUID:
        """A random UUID: the same at every replay."""
        return UUID(int=self._run.dice().getrandbits(128), version=4)


def _where(word: FrameType) -> str:
    """The source line that awaits the word whose frame this is."""
    caller = word.f_back
    return f"{caller.f_code.co_filename}:{caller.f_lineno}" if caller is not None else ""


def _is_length(seconds: object) -> bool:
    return isinstance(seconds, int | float) and 0 <= seconds < math.inf  # the comparison refuses NaN, too
