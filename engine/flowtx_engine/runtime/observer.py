"""What a driver tells whoever watches it: metrics, alerts, traces.

The law of this file: an observer is told and not asked. It never waits and never raises, for the driver goes on when it
returns; what takes time it hands to a task of its own.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass

from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.calls.http_url import shown
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import AnyFact, Attempted, Failed
from flowtx_engine.runtime.history import reason_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An attempt that ended with a fault, durable by now: ``fault_count`` in a row at this address, this one included.

    ``name`` is what was called: a function's name, or a participant's URL, its password hidden.
    """

    gid: str
    address: str
    name: str
    error: str
    fault_count: int
    status: str


class Observer:
    """Hears everything and does nothing: observers override what they care for."""

    def driven(self, row: Transaction) -> None:
        """A transaction is taken up: it is new, or its time has come, or somebody told it something."""

    def calling(self, row: Transaction, attempt: Attempt) -> None:
        """An attempt is about to be made by this task, which ends with it."""

    def called(self, row: Transaction, attempt: Attempt, outcome: Outcome | None, elapsed_s: float) -> None:
        """An attempt has its outcome, which is not durable yet; None when nobody waits for it any more."""

    def faulted(self, fault: Fault) -> None:
        """An attempt ended with a fault."""

    def rested(self, row: Transaction, error: Exception | None) -> None:
        """A transaction has ended or is parked; with an ``error``, it cannot go on without other code."""


class Observers(Observer):
    """Several as one."""

    def __init__(self) -> None:
        self._all: list[Observer] = []

    def add(self, observer: Observer) -> None:
        """Tell this one, too, from now on."""
        self._all.append(observer)

    def driven(self, row: Transaction) -> None:
        """See ``Observer.driven``."""
        for observer in self._all:
            observer.driven(row)

    def calling(self, row: Transaction, attempt: Attempt) -> None:
        """See ``Observer.calling``."""
        for observer in self._all:
            observer.calling(row, attempt)

    def called(self, row: Transaction, attempt: Attempt, outcome: Outcome | None, elapsed_s: float) -> None:
        """See ``Observer.called``."""
        for observer in self._all:
            observer.called(row, attempt, outcome, elapsed_s)

    def faulted(self, fault: Fault) -> None:
        """See ``Observer.faulted``."""
        for observer in self._all:
            observer.faulted(fault)

    async def watched(self, made: Awaitable[Outcome], row: Transaction, attempt: Attempt) -> Outcome:
        """Wait for an attempt that is made, and tell how it went and how long it took."""
        outcome: Outcome | None = None
        began_at = time.perf_counter()
        self.calling(row, attempt)
        try:
            outcome = await made
            return outcome
        finally:
            self.called(row, attempt, outcome, time.perf_counter() - began_at)

    def wrote(self, row: Transaction, address: str, fact: AnyFact) -> None:
        """A fact is durable: tell of it, if it is a fault."""
        fault = fault_of(row, address, fact) if self._all else None
        if fault is not None:
            self.faulted(fault)

    def rested(self, row: Transaction, error: Exception | None) -> None:
        """See ``Observer.rested``."""
        for observer in self._all:
            observer.rested(row, error)


def fault_of(row: Transaction, address: str, fact: AnyFact) -> Fault | None:
    """The fault that a fact tells of, or None; a participant that is not finished yet is none."""
    match fact:
        case Attempted() if fact.outcome != "ongoing":
            fault_count = fact.fault_count
        case Failed():
            fault_count = fact.attempt
        case _:
            return None
    return Fault(
        gid=row.gid,
        address=address,
        name=shown(fact.call.name),
        error=reason_of(fact.error),
        fault_count=fault_count,
        status=row.status,
    )
