"""What a step's function can know about the attempt it is: its gid, address, key and number."""

from __future__ import annotations

from contextvars import ContextVar, Token
from dataclasses import dataclass

from flowtx_dsl.errors import WorkflowError


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentStep:
    """The attempt that is being made.

    ``key`` is the same at every attempt of this step and of no other: the idempotency key to hand to participants.
    ``attempt`` counts from 1.
    """

    gid: str
    address: str
    key: str
    attempt: int


_current: ContextVar[CurrentStep] = ContextVar("flowtx_current_step")


def current_step() -> CurrentStep:
    """The attempt that the running function is; raises ``WorkflowError`` outside a step."""
    try:
        return _current.get()
    except LookupError:
        raise WorkflowError(
            "current_step() was called outside a step",
            remedy="Call it inside a function that a workflow runs with tx.step(...).",
        ) from None


def current_or_none() -> CurrentStep | None:
    """The attempt that the running function is, or None outside a step."""
    return _current.get(None)


def set_current_step(step: CurrentStep) -> Token[CurrentStep]:
    """Set for the running task, until ``reset_current_step``; the engine does this before it calls a function."""
    return _current.set(step)


def reset_current_step(before: Token[CurrentStep]) -> None:
    """The function has returned: what ``set_current_step`` gave says what was set before."""
    _current.reset(before)
