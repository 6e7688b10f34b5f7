"""Looking at transactions: query and all."""

from __future__ import annotations

from flowtx.dtm.branches import branch_views
from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.outcomes import Done, DtmError, Outcome
from flowtx.dtm.wire.queries import ListRequest
from flowtx.dtm.wire.views import ListView, QueryView, view_transaction
from flowtx_engine.journal.records import Filter


async def query(desk: Desk, gid: str) -> Outcome:
    """One transaction and its branches (query)."""
    if not gid:
        return DtmError("no gid specified")
    row = await desk.engine.transaction(gid)
    if row is None:
        return Done(QueryView(branches=[], transaction=None))
    # The row first: events that are newer than it show a branch done, never one undone that the row counts on.
    events = await desk.engine.history(gid)
    return Done(QueryView(branches=branch_views(row, events), transaction=view_transaction(row, desk.engine.now_at())))


async def list_transactions(desk: Desk, request: ListRequest) -> Outcome:
    """One transaction by gid, or a page of them, newest first (all)."""
    if request.gid:
        row = await desk.engine.transaction(request.gid)
        found = None if row is None else [view_transaction(row, desk.engine.now_at())]
        return Done(ListView(next_position=request.position, transactions=found))
    wanted = Filter(
        status=request.status,
        pattern=request.trans_type,
        created_from_at=request.created_from_at,
        created_to_at=request.created_to_at,
    )
    rows = await desk.engine.transactions(wanted, before_id=request.before_id, limit=request.limit)
    next_position = str(rows[-1].id) if len(rows) == request.limit else ""
    now_at = desk.engine.now_at()
    return Done(ListView(next_position=next_position, transactions=[view_transaction(row, now_at) for row in rows]))
