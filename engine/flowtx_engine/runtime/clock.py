"""The engine's clock: what the journal's instants are read from.

The law of this file: instants are seconds since the epoch as floats; waiting is trio's. A simulated world passes a
clock that follows trio's own, so that jumping trio's clock moves everything.
"""

from __future__ import annotations

import time
from typing import Protocol

import trio


class Clock(Protocol):
    """Where instants come from."""

    def now_at(self) -> float:
        """The time, in seconds since the epoch."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_at(self) -> float:
        """The time, in seconds since the epoch."""
        return time.time()


class MovableClock:
    """Another clock, the machine's unless told otherwise, and whatever it was moved on by."""

    def __init__(self, base: Clock | None = None) -> None:
        self._base = base or SystemClock()
        self._ahead_s = 0.0

    def advance(self, seconds: float) -> None:
        """Move it on. Who computed a pause from it must be woken to compute it again."""
        assert seconds >= 0, seconds
        self._ahead_s += seconds

    def now_at(self) -> float:
        """The time, in seconds since the epoch."""
        return self._base.now_at() + self._ahead_s


class TrioClock:
    """Follows trio's clock from an epoch on, so that ``MockClock`` drives it."""

    def __init__(self, epoch_at: float = 1_700_000_000.0) -> None:
        self._epoch_at = epoch_at

    def now_at(self) -> float:
        """The epoch plus trio's time."""
        return self._epoch_at + trio.current_time()
