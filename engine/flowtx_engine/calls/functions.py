"""Performing a Python function: awaited on trio when async, in a worker thread when not.

The law of this file: a function gets fresh copies of its arguments, decoded from the payload, so nothing it does to
them reaches the workflow; and its result is encoded before anybody sees it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Protocol, TypeVar, assert_never, cast

import trio

from flowtx_dsl.commands import Check, Compensate, Confirm, Settling, Step
from flowtx_dsl.current import CurrentStep, reset_current_step, set_current_step
from flowtx_dsl.effects import NOT_DONE
from flowtx_dsl.errors import UNKNOWN, Ongoing, Refused, StepFault, StepTimeout
from flowtx_dsl.targets import FunctionTarget
from flowtx_engine.calls.attempt import Attempt, Outcome

T = TypeVar("T")

_OURS = (trio.Cancelled, KeyboardInterrupt, GeneratorExit)


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
    """Call the function once and say what became of it; never raises but when it is cancelled.

    A sync function cannot be interrupted: past its ``timeout_s`` it is waited for all the same, and its outcome counts.
    """
    timeout_s = attempt.command.timeout_s
    step = CurrentStep(gid=attempt.gid, address=attempt.address, key=attempt.key, attempt=attempt.number)
    before = set_current_step(step)
    try:
        with trio.move_on_after(math.inf if timeout_s is None else timeout_s) as scope:
            value = await _call(target, attempt, run_sync)
            return _returned(target, attempt, value)
        assert scope.cancelled_caught, scope
        return Outcome(kind="unknown", error=StepTimeout(f"{target.name} took longer than its timeout_s={timeout_s}"))
    except Exception as raised:
        return _outcome_of(_unwrap(raised), attempt)
    except BaseException as raised:
        if _is_ours(raised):
            raise
        # sys.exit() in a step, or asyncio's CancelledError: the step's own affair, and not the end of the engine.
        fault = StepFault(f"{target.name} raised {type(raised).__qualname__}, which is no Exception")
        fault.__cause__ = raised
        return Outcome(kind="unknown", error=fault)
    finally:
        reset_current_step(before)


def _returned(target: FunctionTarget, attempt: Attempt, value: object) -> Outcome:
    """What a returned value means; for who asks whether a step has happened, "refused" says that it has not."""
    match attempt.command:
        case Compensate() | Confirm():
            # Nobody reads it, and what settles a step must not fail because it cannot be written.
            return Outcome(kind="succeeded")
        case Check() if value is NOT_DONE:
            return Outcome(kind="refused")
        case Check() as command:
            what = f"what {target.name} says of {command.step.name}"
            return Outcome(kind="succeeded", value=command.step.target.result.encode(value, what=what))
        case Step():
            return Outcome(kind="succeeded", value=target.result.encode(value, what=f"the result of {target.name}"))
        case _:
            assert_never(attempt.command)


def _is_ours(raised: BaseException) -> bool:
    """True for what trio and the person at the keyboard use to end tasks, also inside a group."""
    if isinstance(raised, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", raised).subgroup(_OURS) is not None
    return isinstance(raised, _OURS)


async def _call(target: FunctionTarget, attempt: Attempt, run_sync: RunSync) -> object:
    args = target.signature.decode_args(attempt.command.call.payload)
    fn = target.fn
    if target.signature.takes_result and isinstance(attempt.command, Compensate | Confirm):
        fn = _with_result(fn, attempt.command)
    if _is_async(target.fn):
        value = fn(*args)
    else:
        # In a tuple, because trio takes a coroutine that comes back from a thread for a mistake.
        (value,) = await run_sync(lambda: (fn(*args),))
    # A sync callable may hand back a coroutine too: a lambda around an async function, for one.
    return await value if inspect.isawaitable(value) else value


def _with_result(fn: Callable[..., object], command: Settling) -> Callable[..., object]:
    result: object = UNKNOWN
    if command.step is not None and command.result is not None:
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


def _outcome_of(error: Exception, attempt: Attempt) -> Outcome:
    match error:
        case _ if isinstance(attempt.command, Check):  # whatever it says of itself, nobody knows about the step
            return Outcome(kind="unknown", error=error)
        case Refused():
            return Outcome(kind="refused", error=error)
        case Ongoing():
            return Outcome(kind="ongoing", error=error)
        case _:
            return Outcome(kind="unknown", error=error)
