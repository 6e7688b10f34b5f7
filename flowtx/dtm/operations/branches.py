"""Registering branches of a transaction that is only prepared, and what a workflow has done: registerBranch.

The law of this file: nothing is acknowledged before it is durable (spec 12.8), and a branch is registered once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.operations.telling import fact_of, words_of
from flowtx.dtm.orders import STEPS_MAX
from flowtx.dtm.outcomes import Done, DtmError, DtmFailure, Outcome
from flowtx.dtm.queue_urls import check_queue_url, refuse_queue
from flowtx.dtm.wire.options import decode_options
from flowtx.dtm.wire.requests import BranchRequest
from flowtx_dsl.errors import FlowtxError, NoSuchTransaction
from flowtx_dsl.patterns.callback import Progress, callback
from flowtx_dsl.patterns.calling import Word
from flowtx_dsl.patterns.tcc import TccBranch
from flowtx_dsl.patterns.xa import XaBranch
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import Event
from flowtx_engine.runtime.outside import Told

Branch = TccBranch | XaBranch | Progress


class _Key(msgspec.Struct, frozen=True):
    """What tells one registered branch from another: of a workflow, the op too."""

    branch_id: str
    op: str = ""


class _Refused(FlowtxError):
    """A final no."""


class _Twice(FlowtxError):
    """The branch is registered already."""


def _tcc(request: BranchRequest) -> Branch:
    check_queue_url(request.confirm, "confirm")
    check_queue_url(request.cancel, "cancel")
    return TccBranch(branch_id=request.branch_id, confirm=request.confirm, cancel=request.cancel, payload=request.data)


def _xa(request: BranchRequest) -> Branch:
    refuse_queue(request.url, "the branch of an xa")
    return XaBranch(branch_id=request.branch_id, url=request.url, payload=request.data)


def _progress(request: BranchRequest) -> Branch:
    return Progress(branch_id=request.branch_id, op=request.op, status=request.status, payload=request.data)


LAYOUTS: Mapping[str, Callable[[BranchRequest], Branch]] = {"tcc": _tcc, "xa": _xa, "workflow": _progress}
"""What is kept of a branch, by the type that its request names."""


async def register_branch(desk: Desk, request: BranchRequest) -> Outcome:
    """Register a branch of a tcc or xa, or note what a workflow has done (registerBranch).

    ``sync`` needs no heeding: everything is written before it is acknowledged.
    """
    layout = LAYOUTS.get(request.trans_type)
    if layout is None:
        return DtmError(f"unknow trans type: {request.trans_type[:100]}")
    branch = msgspec.json.encode(layout(request))

    def decide(row: Transaction, events: list[Event]) -> Told:
        if row.status != "prepared":
            raise _not_prepared(request.gid)
        if row.pattern != request.trans_type or (row.pattern == "workflow" and row.workflow != callback.name):
            raise _Refused(
                f"gid '{row.gid}' belongs to a transaction of type '{row.pattern}', cannot register a branch of type "
                f"'{request.trans_type}'. FAILURE"
            )
        _check_new(row, events, branch)
        return Told(facts=(fact_of(Word(kind="branch", data=msgspec.Raw(branch))),), wakes=_wakes(desk, row))

    try:
        await desk.engine.tell(request.gid, decide)
    except NoSuchTransaction:
        return DtmFailure(_not_prepared(request.gid).message)
    except _Refused as refused:
        return DtmFailure(refused.message)
    except _Twice as twice:
        return DtmError(twice.message)
    return Done()


def _wakes(desk: Desk, row: Transaction) -> bool:
    """A workflow whose client had fallen quiet is to be called back sooner, now that it is heard of again."""
    if row.pattern != "workflow" or row.wake_at is None:
        return False
    return row.wake_at > desk.engine.now_at() + decode_options(row.options).interval


def _not_prepared(gid: str) -> _Refused:
    return _Refused(f"no trans with gid: {gid} status: prepared found FAILURE")


def _check_new(row: Transaction, events: list[Event], branch: bytes) -> None:
    key = msgspec.json.decode(branch, type=_Key)
    known = [msgspec.json.decode(word.data, type=_Key) for _, word in words_of(events) if word.kind == "branch"]
    if key in known:
        raise _Twice(f"storage: UniqueKeyConflict: branch {key.branch_id} {key.op}".rstrip() + " is registered already")
    if len(known) >= STEPS_MAX:
        raise _Twice(f"the {row.pattern} has {len(known)} branches, expected at most {STEPS_MAX}")
