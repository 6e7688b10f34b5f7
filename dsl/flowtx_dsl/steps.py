"""A step as it is asked for: from the arguments of ``tx.step`` and ``nursery.start_step`` to a command.

The law of this file: whatever is wrong with a step is said where it is asked for, before anything is journaled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from types import FrameType
from typing import Any, Protocol, TypeVarTuple

from flowtx_dsl.commands import Step
from flowtx_dsl.effects import Check, Effect, check_key, idempotent, once
from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.policies import Retry
from flowtx_dsl.targets import Call, RemoteTarget, step_target_of, target_of

Ts = TypeVarTuple("Ts")

DEFAULT_RETRY = Retry()

frame_here = sys._getframe  # pyright: ignore[reportPrivateUsage]  # inspect.currentframe() at half the price


class TakesResult(Protocol[*Ts]):
    """A compensation that is also given what its step returned, or ``UNKNOWN``, as ``result=``."""

    def __call__(self, *args: *Ts, result: Any) -> object:
        """Take the step back."""
        ...


def step_of(
    fn: Callable[..., object] | RemoteTarget[Any],
    args: tuple[object, ...],
    compensate: Callable[..., object] | RemoteTarget[Any] | None,
    compensate_refused: bool,
    retry: Retry,
    timeout_s: float | None,
    where: str,
    *,
    confirm: Callable[..., object] | RemoteTarget[Any] | None = None,
    effect: Effect[*tuple[Any, ...]] = idempotent,
    key: str = "",
) -> Step:
    """The command; raises ``PayloadError`` or ``WorkflowError`` for what cannot be asked."""
    call = step_target_of(fn).call(args)
    if timeout_s is not None:
        check_timeout(call, timeout_s)
    check_effect(effect, call)
    if key:
        check_key(key, call.name)
    return Step(
        call=call,
        where=where,
        retry=retry,
        timeout_s=timeout_s,
        compensation=None if compensate is None else target_of(compensate).call(args),
        compensates_refused=compensate_refused,
        confirmation=None if confirm is None else target_of(confirm).call(args),
        key=key,
        is_once=effect is once,
        check=target_of(effect.fn).call(args) if isinstance(effect, Check) else None,
    )


def check_effect(effect: object, call: Call) -> None:
    """Raise ``WorkflowError`` for what is no effect class."""
    if not (effect is once or effect is idempotent or isinstance(effect, Check)):
        raise WorkflowError(
            f"step {call.name}: effect={effect!r} is no effect class",
            remedy="Use flowtx.idempotent, flowtx.once, or flowtx.check(fn).",
        )


def check_timeout(call: Call, timeout_s: float) -> None:
    """Raise ``WorkflowError`` for a limit that no attempt could keep."""
    if not timeout_s > 0:
        raise WorkflowError(f"step {call.name}: timeout_s={timeout_s!r}, expected seconds above zero, or None")


def where_of(word: FrameType) -> str:
    """The source line that speaks the word whose frame this is."""
    caller = word.f_back
    return f"{caller.f_code.co_filename}:{caller.f_lineno}" if caller is not None else ""


def seconds_of(instant: datetime, word: str) -> float:
    """An instant in seconds since the epoch; raises ``WorkflowError`` for one without a time zone."""
    if instant.tzinfo is None:
        raise WorkflowError(
            f"{word}({instant!r}): the instant has no time zone",
            remedy="Give it one: datetime(..., tzinfo=UTC), or tx.now() + timedelta(...).",
        )
    return instant.timestamp()
