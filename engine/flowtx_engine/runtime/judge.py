"""Judging: what an outcome of an attempt means for the run. Pure.

The law of this file: here, and only here, it is decided whether a step is tried again, and when.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from flowtx_dsl.commands import Check, Sleep, Step
from flowtx_dsl.error_codec import encode_error
from flowtx_dsl.errors import FlowtxError, PayloadError, StepFault
from flowtx_engine.calls.attempt import Outcome
from flowtx_engine.kernel.events import Attempted, Doubted, Failed, Refused, Started, StepFact, Succeeded
from flowtx_engine.kernel.tasks import Asked, name_of

ATTEMPTS_BEFORE_SLOWING = 1_000
"""From so many attempts on, the pauses of a step grow a little with each."""
SLOWING = 1.001
"""By how much: a pause is then about a thousandth of what was waited for already, so that nobody notices, and a year of
asking every second is some ten thousand events and not thirty million, which no journal would hold."""
SLOWED_PAUSE_MAX_S = 86_400.0
"""No pause grows beyond this for that reason alone."""


def check_size(what: str, payload: bytes, bytes_max: int) -> None:
    """Raises ``PayloadError`` for a payload beyond ``payload_bytes_max``."""
    if len(payload) > bytes_max:
        raise too_long(what, len(payload), bytes_max)


def too_long(what: str, size: int, bytes_max: int) -> PayloadError:
    """The error for a payload beyond ``payload_bytes_max``."""
    return PayloadError(
        f"{what} has {size} bytes, at most {bytes_max} are taken (payload_bytes_max)",
        remedy="Pass a reference to large data instead of the data, or raise the limit.",
    )


def fact_of(asked: Asked, outcome: Outcome, *, now_at: float, dice: float, bytes_max: int) -> StepFact:
    """The fact to journal; ``dice`` (0 to 1) varies the pause before the next attempt.

    A result of more than ``bytes_max`` bytes is not kept: that the step happened is all that is known of it, so it is
    given up like one whose result cannot be encoded.
    """
    attempt = asked.attempt_count + 1
    if len(outcome.value) > bytes_max:
        unkept = too_long(f"the result of {name_of(asked.command)}", len(outcome.value), bytes_max)
        outcome = Outcome(kind="unknown", error=unkept)
    if outcome.kind == "succeeded":
        return Succeeded(call=asked.record, value=msgspec.Raw(outcome.value), attempt=attempt)
    error = outcome.error if outcome.error is not None else FlowtxError(f"the outcome was {outcome.kind}")
    may_end = isinstance(asked.command, Step)  # what settles a step is tried until it succeeds
    if outcome.kind == "refused" and may_end:
        return Refused(call=asked.record, error=encode_error(error), attempt=attempt)
    if asked.is_once:  # also when it is ongoing: to ask again is to make it again
        return Doubted(call=asked.record, error=encode_error(error, with_trace=True), attempt=attempt)
    if _is_fault(asked, outcome) and may_end and _gives_up(asked, error):
        error.add_note(f"flowtx: attempt {attempt} of {name_of(asked.command)} at {asked.address} was the last")
        return Failed(call=asked.record, error=encode_error(error, with_trace=True), attempt=attempt)
    return _attempted(asked, outcome, error, now_at=now_at, dice=dice)


def _is_fault(asked: Asked, outcome: Outcome) -> bool:
    """True when the outcome counts towards giving the step up."""
    assert not isinstance(asked.command, Sleep), asked
    return outcome.kind == "unknown" or (outcome.kind == "ongoing" and asked.command.retry.ongoing_counts)


def _gives_up(asked: Asked, error: Exception) -> bool:
    assert not isinstance(asked.command, Sleep), asked
    return asked.command.retry.gives_up(error, asked.fault_count + 1)


def _attempted(asked: Asked, outcome: Outcome, error: Exception, *, now_at: float, dice: float) -> Attempted:
    """One more attempt is due; what settles a step is tried again when it is refused, like any fault (spec 3.5)."""
    assert not isinstance(asked.command, Sleep), asked
    match outcome.kind:
        case "ongoing":
            fault_count = asked.fault_count + asked.command.retry.ongoing_counts
        case "unknown" | "refused":
            fault_count = asked.fault_count + 1
        case "succeeded":
            raise AssertionError(outcome)
        case _:
            assert_never(outcome.kind)
    return Attempted(
        call=asked.record,
        outcome=outcome.kind,
        error=encode_error(error, with_trace=outcome.kind == "unknown"),
        attempt=asked.attempt_count + 1,
        fault_count=fault_count,
        retry_at=now_at + slowed(asked.command.retry.pause_s(fault_count, dice), asked.attempt_count + 1),
    )


def slowed(pause_s: float, attempt: int) -> float:
    """The pause after so many attempts of one step, when its policy says ``pause_s``."""
    if attempt <= ATTEMPTS_BEFORE_SLOWING or pause_s >= SLOWED_PAUSE_MAX_S:
        return pause_s
    slowing = SLOWING ** min(attempt - ATTEMPTS_BEFORE_SLOWING, 100_000)  # beyond, a float ends
    return min(pause_s * slowing, SLOWED_PAUSE_MAX_S)


def start_of(asked: Asked) -> Started:
    """What to journal before an attempt at a step that may be made once only."""
    return Started(call=asked.record, attempt=asked.attempt_count + 1)


def doubt_of(asked: Asked) -> Doubted:
    """What to journal of such an attempt when whoever made it never told how it ended."""
    lost = StepFault(f"{name_of(asked.command)} was on its way when its engine stopped, or when the run gave it up")
    return Doubted(call=asked.record, error=encode_error(lost), attempt=asked.attempt_count + 1)


def check_of(step: Step) -> Check:
    """The question whether a step has happened."""
    assert step.check is not None, step
    return Check(
        call=step.check, where=step.where, retry=step.retry, timeout_s=step.timeout_s, step=step.call, key=step.key
    )
