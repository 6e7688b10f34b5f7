"""When a step is tried again, and when it is given up: arithmetic, for every policy."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtx_dsl.errors import PayloadError, Refused, StepFault, StepTimeout, WorkflowError
from flowtx_dsl.policies import Retry

lengths = st.floats(min_value=0, max_value=1e9)
retries = st.builds(
    Retry,
    first_s=lengths,
    factor=st.floats(min_value=1, max_value=1e6),
    cap_s=lengths,
    jitter=st.floats(min_value=0, max_value=1),
    attempts_max=st.none() | st.integers(min_value=1, max_value=5),
    ongoing_s=st.none() | lengths,
)
dice = st.floats(min_value=0, max_value=1)


@given(retries, st.integers(min_value=0, max_value=10**6), dice)
def test_every_pause_is_finite_and_at_most_its_cap_with_jitter(retry: Retry, fault_count: int, throw: float) -> None:
    pause = retry.pause_s(fault_count, throw)
    assert 0 <= pause <= max(retry.cap_s, retry.ongoing_s or 0) * (1 + retry.jitter)
    assert math.isfinite(pause)


@given(retries, st.integers(min_value=1, max_value=1000))
def test_without_jitter_pauses_never_shrink(retry: Retry, fault_count: int) -> None:
    assert retry.pause_s(fault_count, 0.5) <= retry.pause_s(fault_count + 1, 0.5)


@given(retries, st.integers(min_value=1, max_value=10))
def test_a_step_is_given_up_after_so_many_faults_and_never_without_a_limit(retry: Retry, fault_count: int) -> None:
    limit = math.inf if retry.attempts_max is None else retry.attempts_max
    assert retry.gives_up(StepFault("x"), fault_count) == (fault_count >= limit)


def test_pauses_double_from_the_first_to_the_cap() -> None:
    retry = Retry(first_s=1, factor=2, cap_s=10, jitter=0)
    assert [retry.pause_s(count, 0.0) for count in (1, 2, 3, 4, 5, 10_000)] == [1, 2, 4, 8, 10, 10]
    assert retry.pause_s(0, 0.0) == 0.5  # ongoing before any fault


def test_ongoing_may_have_a_pause_of_its_own() -> None:
    assert Retry(ongoing_s=7, jitter=0).pause_s(0, 0.5) == 7
    assert Retry(ongoing_s=7, jitter=0).pause_s(1, 0.5) == 1


def test_some_errors_are_the_last_at_once() -> None:
    assert Retry(give_up_on=(StepFault,)).gives_up(StepTimeout("x"), 1)
    assert not Retry(give_up_on=(StepTimeout,)).gives_up(StepFault("x"), 1)
    assert Retry().gives_up(PayloadError("a generator"), 1)  # tomorrow it is a generator still
    assert not Retry().gives_up(Refused("x"), 10**6)


@pytest.mark.parametrize("name", ["first_s", "factor", "cap_s", "jitter", "ongoing_s"])
@pytest.mark.parametrize("value", [-0.5, math.nan, math.inf])
def test_a_policy_that_cannot_be_computed_with_is_refused(name: str, value: float) -> None:
    changed: dict[str, Any] = {name: value}
    # An endless pause would give the next attempt an instant that JSON cannot hold.
    with pytest.raises(WorkflowError, match=name):
        replace(Retry(), **changed)


def test_limits_of_the_policy_itself() -> None:
    with pytest.raises(WorkflowError, match=r"attempts_max=0\): expected at least 1"):
        Retry(attempts_max=0)
    with pytest.raises(WorkflowError, match=r"jitter=1\.5\): expected a share of the pause"):
        Retry(jitter=1.5)
    with pytest.raises(WorkflowError, match=r"factor=0\.5\): expected a finite number of at least 1"):
        Retry(factor=0.5)
