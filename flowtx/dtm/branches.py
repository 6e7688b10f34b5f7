"""Branches of DTM's transactions: which there are, how far each is, and which one an event speaks of.

The law of this file: nothing of this is stored. What was ordered stands in the run's input and in what it was told;
what became of it stands in the journal, and the run itself, replayed, says which branch each event speaks of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from flowtx.dtm.operations.telling import words_of
from flowtx.dtm.wire.views import BranchView, spell_time
from flowtx_dsl.commands import Sleep
from flowtx_dsl.errors import NondeterminismError
from flowtx_dsl.patterns.callback import Progress, callback
from flowtx_dsl.patterns.msg import MsgOrder, msg
from flowtx_dsl.patterns.saga import SagaOrder, saga
from flowtx_dsl.patterns.tcc import TccBranch, tcc
from flowtx_dsl.patterns.xa import XaBranch, xa
from flowtx_dsl.queues import shown_url
from flowtx_dsl.targets import RemoteTarget
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.codec import is_encoded
from flowtx_engine.journal.pieces import is_in_pieces
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import Event, Refused, Succeeded
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked

PATTERNS: Mapping[str, AnyWorkflow] = {workflow.name: workflow for workflow in (saga, msg, tcc, xa, callback)}
"""DTM's patterns by the names that rows call them by."""


class Place(NamedTuple):
    """One thing that a participant is asked."""

    branch_id: str
    op: str
    url: str


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What replaying a journal tells: of which branch each address speaks, and what the run waits for.

    ``known`` is how many events could be replayed; those after them may speak of anything.
    """

    places: Mapping[str, Place]
    waiting: list[Place]
    known: int


NOTHING = Replayed(places={}, waiting=[], known=0)


def is_pattern(row: Transaction) -> bool:
    """True when the transaction is one of DTM's patterns, and what was ordered can be read."""
    return row.workflow in PATTERNS and not is_encoded(row.input) and not is_in_pieces(row.input)


def replayed(row: Transaction, events: Iterable[Event]) -> Replayed:
    """What a journal tells of branches; nothing for what is no pattern of DTM."""
    if not is_pattern(row):
        return NOTHING
    kernel = Kernel(PATTERNS[row.workflow], row.input, gid=row.gid)
    places: dict[str, Place] = {}
    known = 0
    try:
        for event in events:
            for order in kernel.feed(event):
                if isinstance(order, Asked) and (place := place_of(order)) is not None:
                    places[order.address] = place
            known += 1
        waiting = [place for asked in kernel.waiting if (place := place_of(asked)) is not None]
    except NondeterminismError:  # other code wrote it: what is known up to there is shown
        waiting = []
    finally:
        kernel.close()
    return Replayed(places=places, waiting=waiting, known=known)


def place_of(asked: Asked) -> Place | None:
    """What a participant is asked; None for what no participant is."""
    command = asked.command
    if isinstance(command, Sleep) or not isinstance(command.call.target, RemoteTarget):
        return None
    target = command.call.target
    return Place(target.branch_id, target.op, target.name)


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """A branch-op row as it was ordered or registered, at an instant; ``status`` is what its client said of it."""

    branch_id: str
    op: str
    url: str
    payload: bytes
    at: float
    status: str = ""


def branch_views(row: Transaction, events: list[Event]) -> list[BranchView]:
    """The rows of a transaction's branches, in DTM's order (spec 4.2 to 4.6)."""
    if not is_pattern(row):
        return []
    found = replayed(row, events)
    ends = {
        (place.branch_id, place.op): event
        for event in events[: found.known]
        if isinstance(event.fact, Succeeded | Refused) and (place := found.places.get(event.address)) is not None
    }
    return [_view_of(row, ordered, ends.get((ordered.branch_id, ordered.op))) for ordered in _rows_of(row, events)]


def _view_of(row: Transaction, ordered: _Row, end: Event | None) -> BranchView:
    at = ordered.at if end is None else end.at
    return BranchView(
        id=0,
        create_time=spell_time(ordered.at),
        update_time=spell_time(at),
        gid=row.gid,
        url=shown_url(ordered.url),
        bin_data=ordered.payload,
        branch_id=ordered.branch_id,
        op=ordered.op,
        status=ordered.status or _status_of(end),
        # What a workflow's client reports has none with DTM either.
        finish_time="" if end is None else spell_time(at),
    )


def _status_of(end: Event | None) -> str:
    if end is None:
        return "prepared"
    return "succeed" if isinstance(end.fact, Succeeded) else "failed"


def _rows_of(row: Transaction, events: list[Event]) -> list[_Row]:
    """What there is to be done or was reported, in DTM's order."""
    match row.workflow:
        case saga.name:
            return _rows_of_saga(row)
        case msg.name:
            (order,) = msgspec.json.decode(row.input, type=tuple[MsgOrder])
            return [
                _Row(branch_id=each.branch_id, op="action", url=each.url, payload=each.payload, at=row.created_at)
                for each in order.branches
            ]
        case _:
            return [
                registered
                for event, word in words_of(events)
                if word.kind == "branch"
                for registered in _rows_of_branch(row, bytes(word.data), event.at)
            ]


def _rows_of_saga(row: Transaction) -> list[_Row]:
    (order,) = msgspec.json.decode(row.input, type=tuple[SagaOrder])
    return [
        _Row(branch_id=step.branch_id, op=op, url=url, payload=step.payload, at=row.created_at)
        for step in order.steps
        for op, url in (("compensate", step.compensate), ("action", step.action))
    ]


def _rows_of_branch(row: Transaction, data: bytes, at: float) -> list[_Row]:
    match row.workflow:
        case tcc.name:
            tried = msgspec.json.decode(data, type=TccBranch)
            urls = (("cancel", tried.cancel), ("confirm", tried.confirm))
            return [_Row(branch_id=tried.branch_id, op=op, url=url, payload=tried.payload, at=at) for op, url in urls]
        case xa.name:
            held = msgspec.json.decode(data, type=XaBranch)
            return [
                _Row(branch_id=held.branch_id, op=op, url=held.url, payload=held.payload, at=at)
                for op in ("rollback", "commit")
            ]
        case _:
            done = msgspec.json.decode(data, type=Progress)
            return [_Row(branch_id=done.branch_id, op=done.op, url="", payload=done.payload, at=at, status=done.status)]
