"""Performing a Python function: awaited on trio when async, in a worker thread when not.

The law of this file: a function gets fresh copies of its arguments, decoded from the payload, so nothing it does to
them reaches the workflow; and its result is encoded before anybody sees it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar, cast

import trio

from flowtx_dsl import codec
from flowtx_dsl.commands import Compensate
from flowtx_dsl.current import CurrentStep, set_current_step
from flowtx_dsl.errors import UNKNOWN, Ongoing, Refused, StepTimeout
from flowtx_dsl.targets import FunctionTarget
from flowtx_engine.calls.attempt import Attempt, Outcome

T = TypeVar("T")


class RunSync(Protocol):
    """How a sync function is run: in a thread for real, inline where time is simulated."""

    async def __call__(self, fn: Callable[[], T], /) -> T:
        """Run it and return its result."""
        ...


class Threads:
    """Runs sync functions in worker threads, so many at once."""

    def __init__(self, threads_max: int) -> None:
        self._limiter = trio.CapacityLimiter(threads_max)

    async def __call__(self, fn: Callable[[], T], /) -> T:
        """Run it in a thread; cancelling waits for it, because a thread cannot be interrupted."""
        return await trio.to_thread.run_sync(fn, limiter=self._limiter)


async def perform_function(target: FunctionTarget, attempt: Attempt, run_sync: RunSync) -> Outcome:
    """Call the function once and say what became of it.

    A sync function cannot be interrupted: past its ``timeout_s`` it is waited for all the same, and its outcome counts.
    """
    set_current_step(CurrentStep(gid=attempt.gid, address=attempt.address, key=attempt.key, attempt=attempt.number))
    timeout_s = attempt.command.timeout_s
    try:
        with trio.fail_after(float("inf") if timeout_s is None else timeout_s):
            value = await _call(target, attempt, run_sync)
        encoded = codec.encode(value, what=f"the result of {target.name}")
        target.result.decode(encoded, what=f"the result of {target.name}")
    except trio.TooSlowError as error:
        timeout = StepTimeout(f"{target.name} took longer than its timeout_s={timeout_s}")
        timeout.__cause__ = error
        return Outcome(kind="unknown", error=timeout)
    except Exception as raised:
        return _outcome_of(_unwrap(raised))
    return Outcome(kind="succeeded", value=encoded)


async def _call(target: FunctionTarget, attempt: Attempt, run_sync: RunSync) -> object:
    args = target.signature.decode_args(attempt.command.call.payload)
    fn = target.fn
    if target.signature.takes_result and isinstance(attempt.command, Compensate):
        fn = _with_result(fn, attempt.command)
    if _is_async(target.fn):
        value = fn(*args)
    else:
        value = await run_sync(partial(fn, *args))
    # A sync callable may hand back a coroutine too: a lambda around an async function, for one.
    return await value if inspect.isawaitable(value) else value


def _with_result(fn: Callable[..., object], command: Compensate) -> Callable[..., object]:
    result: object = UNKNOWN
    if command.result is not None:
        result = command.step.target.result.decode(command.result, what=f"the result of {command.step.name}")
    return lambda *args: fn(*args, result=result)


def _is_async(fn: Callable[..., object]) -> bool:
    # An object with an async __call__ is async too, though iscoroutinefunction does not say so.
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def _unwrap(error: Exception) -> Exception:
    """A function's own nursery wraps what is raised inside it; a group of one speaks for its member."""
    while isinstance(error, ExceptionGroup):
        group = cast("ExceptionGroup[Exception]", error)
        if len(group.exceptions) != 1:
            return group
        error = group.exceptions[0]
    return error


def _outcome_of(error: Exception) -> Outcome:
    match error:
        case Refused():
            return Outcome(kind="refused", error=error)
        case Ongoing():
            return Outcome(kind="ongoing", error=error)
        case _:
            return Outcome(kind="unknown", error=error)
