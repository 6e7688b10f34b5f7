"""Policies: how a step is tried again, and when it is given up.

The law of this file: a policy is a value and decides by arithmetic alone; the clock and the dice are its caller's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flowtx_dsl.errors import PayloadError, WorkflowError


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How long to wait before the next attempt, and when to give a step up.

    The k-th consecutive fault is followed by a pause of ``first_s * factor ** (k - 1)`` seconds, at most ``cap_s``,
    varied by up to ``jitter`` of itself either way. A participant that answers "ongoing" is asked again after the
    pause that is in force (``first_s / factor`` before any fault, unless ``ongoing_s`` says otherwise).

    By default a step is tried until it has an outcome. ``attempts_max`` (1: no retry) gives it up after so many
    faults, ``give_up_on`` at once on these exception types; the workflow then gets the last exception, and the
    step's compensation stays due, because nobody knows whether the step happened. With ``ongoing_counts`` an "ongoing"
    answer is one of these faults, so that it can be the last.
    """

    first_s: float = 1.0
    factor: float = 2.0
    cap_s: float = 300.0
    jitter: float = 0.1
    attempts_max: int | None = None
    give_up_on: tuple[type[Exception], ...] = ()
    ongoing_s: float | None = None
    ongoing_counts: bool = False

    def __post_init__(self) -> None:
        ongoing_s = 0.0 if self.ongoing_s is None else self.ongoing_s
        for name, value, low in (
            ("first_s", self.first_s, 0.0),
            ("factor", self.factor, 1.0),
            ("cap_s", self.cap_s, 0.0),
            ("jitter", self.jitter, 0.0),
            ("ongoing_s", ongoing_s, 0.0),
        ):
            if not low <= value < math.inf:  # also refuses NaN; an endless pause could not be journaled
                raise WorkflowError(f"Retry({name}={value!r}): expected a finite number of at least {low}")
        if self.jitter > 1:
            raise WorkflowError(f"Retry(jitter={self.jitter!r}): expected a share of the pause, from 0 to 1")
        if self.attempts_max is not None and self.attempts_max < 1:
            raise WorkflowError(f"Retry(attempts_max={self.attempts_max!r}): expected at least 1, or None for no limit")

    def pause_s(self, fault_count: int, dice: float) -> float:
        """The pause in seconds after ``fault_count`` consecutive faults; ``dice`` is a number from 0 to 1."""
        if fault_count == 0 and self.ongoing_s is not None:
            return self.ongoing_s
        try:
            pause = min(self.first_s * self.factor ** (fault_count - 1), self.cap_s)
        except OverflowError:  # a float power gives up at huge counts, where every cap is reached
            pause = self.cap_s
        return pause * (1 + self.jitter * (2 * dice - 1))

    def gives_up(self, error: Exception, fault_count: int) -> bool:
        """True when this error, as the ``fault_count``-th consecutive fault, is the last."""
        if isinstance(error, PayloadError) or (self.give_up_on and isinstance(error, self.give_up_on)):
            return True  # a value that cannot be encoded today cannot be encoded in a second either
        return self.attempts_max is not None and fault_count >= self.attempts_max
