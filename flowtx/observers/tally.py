"""Counting what a server does: plain numbers that a collector reads when it is asked.

The law of this file: counting costs next to nothing and imports nothing that publishes. Labels are bounded: what names
things without end (gids, query strings, branches by the thousand) is no label.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from flowtx_dsl.targets import FunctionTarget
from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.journal.records import Transaction
from flowtx_engine.runtime.observer import Observer

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""DTM's buckets, in seconds (spec 8.2)."""
BRANCHES_NAMED = frozenset(f"{number:02d}" for number in range(17))
"""Branches that have a label of their own; all others share one."""


@dataclass(slots=True)
class Durations:
    """A histogram: how many lasted at most as long as each bound, the last for all longer ones, and their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.sum_s += seconds
        for index, bound in enumerate(BOUNDS):
            if seconds <= bound:
                self.counts[index] += 1
                return
        self.counts[-1] += 1


class Tally(Observer):
    """What was counted since the server started."""

    def __init__(self, *, started_at: float) -> None:
        """What was created before ``started_at`` and is driven all the same was recovered."""
        self.requests: Counter[tuple[str, str, str]] = Counter()
        """By transport, operation and "ok" or "fail"."""
        self.request_durations: defaultdict[tuple[str, str], Durations] = defaultdict(Durations)
        """By transport and operation."""
        self.rounds: Counter[tuple[str, str]] = Counter()
        """By pattern and "ok" or "fail"."""
        self.handled_durations: defaultdict[str, Durations] = defaultdict(Durations)
        """From creation to end, by pattern."""
        self.branches: Counter[tuple[str, str, str, str]] = Counter()
        """By pattern, branch, op and "ok" or "fail"."""
        self.calls: Counter[tuple[str, str]] = Counter()
        """By kind of target and outcome."""
        self.call_durations: defaultdict[str, Durations] = defaultdict(Durations)
        """By kind of target."""
        self.driven_count = 0
        self.recovered_count = 0
        self._started_at = started_at

    def served(self, kind: str, api: str, status: int, elapsed_s: float) -> None:
        """A request was answered."""
        self.requests[kind, api, "ok" if status < 400 else "fail"] += 1
        self.request_durations[kind, api].add(elapsed_s)

    def driven(self, row: Transaction) -> None:
        """See ``Observer.driven``."""
        self.driven_count += 1
        if row.created_at < self._started_at:
            self.recovered_count += 1

    def called(self, row: Transaction, attempt: Attempt, outcome: Outcome | None, elapsed_s: float) -> None:
        """See ``Observer.called``."""
        if outcome is None:
            return
        kind = kind_of(attempt.command.call.target)
        self.calls[kind, outcome.kind] += 1
        self.call_durations[kind].add(elapsed_s)
        status = "ok" if outcome.kind == "succeeded" else "fail"
        self.branches[row.pattern, branch_of(attempt), attempt.op, status] += 1

    def rested(self, row: Transaction, error: Exception | None) -> None:
        """See ``Observer.rested``: one round more, which failed if the transaction did or rests with an error."""
        is_ok = error is None and row.status != "failed" and not row.last_error
        self.rounds[row.pattern, "ok" if is_ok else "fail"] += 1
        if row.finished_at is not None:
            self.handled_durations[row.pattern].add(max(0.0, row.finished_at - row.created_at))


def kind_of(target: Any) -> str:
    """What is called: "function", or the transport."""
    return "function" if isinstance(target, FunctionTarget) else type(target).__name__.removesuffix("Target").lower()


def branch_of(attempt: Attempt) -> str:
    """The label of an attempt's branch; Python steps have none."""
    branch = str(getattr(attempt.command.call.target, "branch_id", ""))
    return branch if branch in BRANCHES_NAMED or not branch else "other"
