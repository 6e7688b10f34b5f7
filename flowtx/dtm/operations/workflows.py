"""Workflows that run in their clients: prepareWorkflow, and submit for them (spec 4.6).

The law of this file: the end that a client reports changes status, reason, result and times, and nothing else of the
record (spec 12.9).
"""

from __future__ import annotations

import msgspec

from flowtx.dtm.branches import branch_views
from flowtx.dtm.operations.begin import beginning_of
from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.operations.prepare import store_prepared
from flowtx.dtm.operations.telling import ending_with, fact_of
from flowtx.dtm.outcomes import Done, DtmError, Outcome
from flowtx.dtm.wire.requests import TransactionRequest
from flowtx.dtm.wire.views import WorkflowView, view_transaction
from flowtx_dsl.errors import FlowtxError, NoSuchTransaction
from flowtx_dsl.patterns.callback import CallbackEnd, callback
from flowtx_dsl.patterns.calling import Word
from flowtx_engine.journal.records import FINAL, Transaction
from flowtx_engine.kernel.events import Event
from flowtx_engine.runtime.outside import Told


class _NotFound(FlowtxError):
    """There is no prepared workflow of this gid."""


async def prepare_workflow(desk: Desk, request: TransactionRequest) -> Outcome:
    """Store a workflow, or give back the one that is there with all its progress (prepareWorkflow).

    Never an error for a status or a type: a client that begins again finds out what there is.
    """
    row, is_new = await store_prepared(desk, await beginning_of(desk, request))
    events = [] if is_new else await desk.engine.history(row.gid)
    shown = view_transaction(row, desk.engine.now_at())
    return Done(WorkflowView(progresses=branch_views(row, events), transaction=shown))


async def submit_workflow(desk: Desk, request: TransactionRequest) -> Outcome:
    """Note how a client's workflow ended; it is final when this answers (submit of a workflow)."""
    status = request.req_extra.get("status", "")
    if status not in FINAL:
        return DtmError(f"req_extra.status is '{status[:100]}', expected succeed or failed", kind="crash")
    end = CallbackEnd(
        status=status,
        reason=request.req_extra.get("rollback_reason", ""),
        result=request.req_extra.get("result", ""),
    )
    word = Word(kind="submit", data=msgspec.Raw(msgspec.json.encode(end)))
    now_at = desk.engine.now_at()

    def decide(row: Transaction, events: list[Event]) -> Told:
        if row.status != "prepared" or row.workflow != callback.name:
            raise _NotFound("storage: NotFound")
        at = max(now_at, events[-1].at)
        return Told(facts=(fact_of(word), ending_with(callback, row, events, word, at)))

    try:
        await desk.engine.tell(request.gid, decide)
    except (NoSuchTransaction, _NotFound):
        return DtmError("storage: NotFound", kind="crash")
    return Done()
