"""What is the same for participants of every transport: the facts they are told, and how an answer becomes an outcome.

The law of this file: nothing of any transport.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

import trio

from flowtx_dsl.commands import Step
from flowtx_dsl.errors import PayloadError, Refused, StepFault, StepTimeout
from flowtx_dsl.targets import RemoteTarget
from flowtx_engine.calls.attempt import Attempt, Outcome

RemoteT = TypeVar("RemoteT", bound=RemoteTarget[Any])

_SAFE_IN_KEY = "!\"#$&'()*+,/:;<=>?@[]^`{|}"
"""A gid may hold what no header can; all of it but letters, digits and these is percent-encoded in the key."""
TOO_LONG_REMEDY = "Let the participant answer with a reference to large data instead of the data, or raise the limit."
TEXT_SHOWN_MAX = 4096
"""Longer answers are cut in error texts."""


def facts_of(target: RemoteTarget[Any], attempt: Attempt) -> dict[str, str]:
    """What DTM tells every participant, in alphabetical order (spec 3.2)."""
    return {
        "branch_id": target.branch_id or attempt.step_place,
        "gid": attempt.gid,
        "op": target.op or attempt.op,
        "trans_type": target.trans_type,
    }


def idempotency_key_of(attempt: Attempt) -> str:
    """The attempt's key, as a header can carry it."""
    return header_value(attempt.key)


def header_value(text: str) -> str:
    """A text as a header can carry it."""
    return quote(text, safe=_SAFE_IN_KEY)


async def ask_in_time(
    target: RemoteTarget[Any],
    attempt: Attempt,
    ask: Callable[[float], Awaitable[Outcome]],
    *,
    default_timeout_s: float,
    own_faults: type[Exception] | tuple[type[Exception], ...],
) -> Outcome:
    """Ask once, within the step's timeout, which ``ask`` is told; an empty URL is a success without a call (spec 3.1).

    ``own_faults`` say themselves what could not be called and why; whatever else is raised is put into words here.
    """
    if not target.url:
        return Outcome(kind="succeeded")
    timeout_s = attempt.command.timeout_s or default_timeout_s
    try:
        with trio.move_on_after(timeout_s):
            return await ask(timeout_s)
    except PayloadError as too_long:  # an answer that cannot be kept
        return Outcome(kind="unknown", error=too_long)
    except Exception as raised:  # what could not be sent, and whatever a URL or a gid that cannot be sent leads to
        is_own = isinstance(raised, own_faults)
        error = StepFault(str(raised) if is_own else f"{target.name} cannot be called: {raised}")
        error.__cause__ = raised
        return Outcome(kind="unknown", error=error)
    return out_of_time(target, timeout_s)


def out_of_time(target: RemoteTarget[Any], timeout_s: float) -> Outcome:
    """Nobody answered in time."""
    return Outcome(kind="unknown", error=StepTimeout(f"{target.name} did not answer within {timeout_s:g} s"))


def refused(text: str) -> Outcome:
    """The participant's final "no", in its words and DTM's (spec 3.2, 3.4)."""
    text = cut(text)
    return Outcome(kind="refused", error=Refused(text if text.endswith(" FAILURE") else f"{text} FAILURE"))


def as_asked(target: RemoteT, attempt: Attempt) -> RemoteT:
    """Nobody reads what is answered to a compensation or a confirmation, so it need not be of any type."""
    return target if isinstance(attempt.command, Step) else replace(target, result_type=None)


def succeeded(target: RemoteTarget[Any], value: bytes) -> Outcome:
    """A success, with its value (JSON) when anybody reads it and it is what the target promises."""
    if target.result_type is None:
        return Outcome(kind="succeeded")
    try:
        target.result.decode(value, what=f"the answer of {target.url}")
    except PayloadError as error:
        return Outcome(kind="unknown", error=error)
    return Outcome(kind="succeeded", value=value)


def cut(text: str) -> str:
    """A text of bearable length."""
    return text if len(text) <= TEXT_SHOWN_MAX else f"{text[:TEXT_SHOWN_MAX]}... ({len(text)} characters in all)"
