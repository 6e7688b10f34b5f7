"""Judging attempts: when the next is due, and when none is any more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtx_dsl.commands import Step
from flowtx_dsl.errors import Ongoing, StepFault
from flowtx_dsl.policies import Retry
from flowtx_dsl.targets import HttpTarget
from flowtx_engine.calls.attempt import Outcome
from flowtx_engine.kernel.events import Attempted, Failed
from flowtx_engine.kernel.tasks import Asked
from flowtx_engine.runtime.judge import ATTEMPTS_BEFORE_SLOWING, SLOWED_PAUSE_MAX_S, fact_of, slowed

ONGOING = Outcome(kind="ongoing", error=Ongoing("not yet"))
BROKEN = Outcome(kind="unknown", error=StepFault("broken"))


def asked(retry: Retry, *, attempt_count: int = 0, fault_count: int = 0) -> Asked:
    target: HttpTarget[None] = HttpTarget(url="http://p/", result_type=None)
    found = Asked("0", Step(call=target.call(()), where="", retry=retry), None, 1)
    found.attempt_count = attempt_count
    found.fault_count = fault_count
    return found


def fact(step: Asked, outcome: Outcome) -> object:
    return fact_of(step, outcome, now_at=100.0, dice=0.5, bytes_max=100)


def test_ongoing_costs_no_attempt_unless_the_policy_says_so() -> None:
    patient = fact(asked(Retry(attempts_max=1)), ONGOING)
    assert isinstance(patient, Attempted)
    assert patient.fault_count == 0
    strict = Retry(attempts_max=2, ongoing_counts=True)
    first = fact(asked(strict), ONGOING)
    assert isinstance(first, Attempted)
    assert first.fault_count == 1
    assert isinstance(fact(asked(strict, attempt_count=1, fault_count=1), ONGOING), Failed)
    assert isinstance(fact(asked(strict, attempt_count=1, fault_count=1), BROKEN), Failed)


@given(st.floats(0, 1e9), st.integers(1, ATTEMPTS_BEFORE_SLOWING))
def test_the_first_thousand_pauses_are_the_policys(pause_s: float, attempt: int) -> None:
    assert slowed(pause_s, attempt) == pause_s


@given(st.floats(0, 1e9), st.integers(1, 10**6))
def test_slowing_never_shortens_a_pause_and_has_an_end(pause_s: float, attempt: int) -> None:
    assert pause_s <= slowed(pause_s, attempt) <= max(pause_s, SLOWED_PAUSE_MAX_S)


@pytest.mark.parametrize("pause_s", [1.0, 10.0])
def test_a_year_of_asking_fits_into_a_journal_and_nobody_notices_the_slowing(pause_s: float) -> None:
    waited_s, attempt = 0.0, 0
    while waited_s < 365 * 86_400:
        attempt += 1
        pause = slowed(pause_s, attempt)
        assert pause <= pause_s + 0.0011 * waited_s
        waited_s += pause
    assert attempt < 15_000
