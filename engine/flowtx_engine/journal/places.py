"""Places: who may begin among the runs of a workflow with a limit, as the stores keep it.

The law of this file: a run of such a workflow has a place from its first write on. The place waits, then it is
admitted, once, by whoever claims the run: in one step that counts, admits and gives the run to its node. An admitted
place is held until its transaction has ended, through crashes, sleeps and changes of owner: what a crashed node held
passes, with its lease, to the node that takes the run up. So there are never more unfinished admitted runs of a key
than its limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from flowtx_engine.journal.records import Transaction


class LimitRule(msgspec.Struct, frozen=True, kw_only=True):
    """The limit of one workflow, as its claimer has it loaded; ``versions`` are those it can drive.

    At most ``concurrency`` admitted and unfinished runs a key, and a rate of ``per_s``; None: any. The rate is kept
    exactly, by ``burst`` beginnings in any ``window_s`` seconds: ten a second are at most ten in any second, and one in
    ten seconds is one in any ten.
    """

    workflow: str
    versions: tuple[str, ...]
    concurrency: int | None = None
    per_s: float | None = None

    @property
    def burst(self) -> int:
        """How many may begin in any ``window_s``; meant for rules with a rate."""
        return max(1, math.floor(self.per_s or 0))

    @property
    def window_s(self) -> float:
        """The window of the rate in seconds, 0 without one."""
        return self.burst / self.per_s if self.per_s is not None else 0.0


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """What one look admitted: in the order of rules, keys and places. ``next_at`` is when looking again may help."""

    transactions: tuple[Transaction, ...] = ()
    next_at: float | None = None


class PlaceStore(Protocol):
    """What a ``Store`` does with places."""

    def admit(self, node: str, now_at: float, limit: int, rules: Sequence[LimitRule]) -> Admitted:
        """Admit waiting runs that are due, first come first served a key, and give them to ``node``; at most ``limit``.

        Of runs whose ``due_at`` is the same the older comes first. Only unfinished runs of nobody in a version that the
        rule names are taken. They become ``node``'s, due at ``now_at``. Two nodes never admit the same run, and
        together they keep every rule.
        """
        ...

    def put_back(self, gid: str, node: str) -> bool:
        """Make a run of ``node`` that waits for its place nobody's, due at no time; False if it does not wait."""
        ...

    def waiting_places(self, gids: Sequence[str]) -> Mapping[str, str]:
        """Those of the gids that wait for a place, each with its key."""
        ...


def next_look_at(
    rule: LimitRule, *, now_at: float, free: float, recent: Sequence[float], first_due_at: float | None
) -> float | None:
    """When one key may have a place for the first run that still waits, None when only an end can tell.

    ``free`` is how many more the concurrency lets in, ``recent`` when the last ones within the window began, oldest
    first.
    """
    if first_due_at is None or free <= 0:
        return None
    at = first_due_at
    if rule.per_s is not None and len(recent) >= rule.burst:
        at = max(at, recent[len(recent) - rule.burst] + rule.window_s)
    return at if at > now_at else None


def earlier(one: float | None, other: float | None) -> float | None:
    """The earlier of two instants, either of which may be never."""
    return other if one is None else one if other is None else min(one, other)
