"""Cron expressions: which instants they are, and the days when clocks change."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowtx
from flowtx_engine.runtime.cron import Cron

BERLIN = "Europe/Berlin"


def ticks(expression: str, timezone: str, after: datetime, count: int) -> list[str]:
    found = itertools.islice(Cron(expression, timezone).after(after.timestamp()), count)
    return [datetime.fromtimestamp(at, ZoneInfo(timezone)).strftime("%d %H:%M") for at in found]


def test_ticks_are_of_the_time_zone() -> None:
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert ticks("0 3 * * *", BERLIN, noon, 2) == ["02 03:00", "03 03:00"]
    assert Cron("0 3 * * *", BERLIN).next_after(noon.timestamp()) == datetime(2026, 7, 2, 1, tzinfo=UTC).timestamp()


def test_a_time_that_the_clock_jumps_over_comes_when_it_has_jumped() -> None:
    assert ticks("30 2 * * *", BERLIN, datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == ["29 03:00", "30 02:30"]


def test_a_time_that_comes_twice_is_taken_once() -> None:
    assert ticks("30 2 * * *", BERLIN, datetime(2026, 10, 24, 12, tzinfo=UTC), 2) == ["25 02:30", "26 02:30"]


@given(
    expression=st.sampled_from(
        ["* * * * *", "*/7 3-5 * * 1", "0 0 29 2 *", "30 2 * * *", "15 10 L * *", "*/5 * * * * *"]
    ),
    timezone=st.sampled_from(["UTC", BERLIN, "Australia/Lord_Howe"]),
    at=st.integers(1_500_000_000, 2_000_000_000),
)
def test_the_last_before_and_the_next_after_are_neighbours(expression: str, timezone: str, at: int) -> None:
    cron = Cron(expression, timezone)
    tick = cron.next_after(at)
    assert tick > at
    assert cron.last_before(tick + 1e-6) == tick
    following = cron.next_after(tick)
    assert tick < following
    assert cron.last_before(following) == tick


@pytest.mark.parametrize(
    ("expression", "timezone", "message"),
    [
        ("61 * * * *", "UTC", "'61 \\* \\* \\* \\*' cannot be used: Bad minute"),
        ("0 0 31 2 *", "UTC", "cannot be used"),
        ("@daily", "UTC", "cannot be used"),
        ("", "UTC", "cannot be used"),
        ("* * * * *", "Mars/Olympus", "no time zone 'Mars/Olympus'"),
        ("* * * * *", "", "no time zone ''"),
        ("* * * * *", "../etc", "no time zone"),
    ],
)
def test_what_is_no_time_is_refused(expression: str, timezone: str, message: str) -> None:
    with pytest.raises(flowtx.WorkflowError, match=message):
        Cron(expression, timezone)
