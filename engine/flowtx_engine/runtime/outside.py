"""From outside: what others than its driver append to a run's journal, and what that changes in its row. Pure.

The law of this file: whoever appends has read the whole history first, and names the seq that follows it. So it is the
fence that orders all who speak to one transaction, on whatever node, and nobody needs a lock.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from flowtx_dsl.error_codec import ErrorRecord
from flowtx_engine.journal.records import RowChange, Status, Transaction, Write, changed
from flowtx_engine.kernel.events import AnyFact, Attempted, Ended, Event, FromOutside, Stopped, stopped_end
from flowtx_engine.runtime.history import row_of
from flowtx_engine.runtime.row import ended_change


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What to tell a run: facts in their order, at an address or of the whole, and what its row must say at once.

    ``wakes`` is whether somebody must drive the run now; ``is_hastening`` that nothing but time is brought forward, so
    that it is for recovery to find. What is left UNSET stays as it is.
    """

    facts: tuple[AnyFact, ...]
    address: str = ""
    wakes: bool = True
    is_hastening: bool = False
    status: Status | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET
    options: bytes | msgspec.UnsetType = msgspec.UNSET


Decide = Callable[[Transaction, list[Event]], Told | None]
"""Decides by row and journal; raises to refuse."""


def write_of(
    row: Transaction, events: list[Event], told: Told, *, now_at: float, owner: str
) -> tuple[Write, Transaction]:
    """The write that tells a run something, and its row afterwards; ``owner`` drives it from then on."""
    at = max(now_at, events[-1].at)  # the clocks of two machines must not make a run's time go backwards
    facts = map(_unheard, told.facts)
    appended = [
        Event(seq=seq, at=at, address=told.address, fact=fact) for seq, fact in enumerate(facts, events[-1].seq + 1)
    ]
    last = told.facts[-1]
    if isinstance(last, Ended):
        change = ended_change(last, at)
    else:
        change = RowChange(updated_at=at, status=told.status, reason=told.reason, options=told.options)
        if told.wakes:
            change = msgspec.structs.replace(change, wake_at=at, owner=owner)
    if row.owner:
        change = msgspec.structs.replace(change, nudged_at=at)
    write = Write(gid=row.gid, rows=tuple(row_of(row.gid, event) for event in appended), change=change)
    return write, changed(row, change)


def _unheard(fact: AnyFact) -> AnyFact:
    return msgspec.structs.replace(fact, is_unheard=True) if isinstance(fact, FromOutside) else fact


def stopped(events: list[Event], reason: str) -> Told:
    """A run that is ended by force: why, and what its compensations last failed with, if they had begun."""
    failing: dict[str, ErrorRecord] = {}
    for event in events:
        if event.address.endswith("/c"):
            if isinstance(event.fact, Attempted):
                failing[event.address] = event.fact.error
            else:
                failing.pop(event.address, None)
    return Told(facts=(Stopped(reason=reason), stopped_end(reason, tuple(failing.values()))))
