"""Looking at key-values: queryKV and scanKV (spec 2.4)."""

from __future__ import annotations

from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.outcomes import Done, Outcome
from flowtx.dtm.wire.queries import PAGE_MAX, ScanRequest
from flowtx.dtm.wire.views import KvPage, KvScan, view_kv


async def query_kv(desk: Desk, *, category: str, key: str) -> Outcome:
    """Those of a category and a key, either of which may be left out (queryKV)."""
    entries = await desk.engine.kv.page(category, key, limit=PAGE_MAX)
    return Done(KvPage(kv=[view_kv(entry) for entry in entries]))


async def scan_kv(desk: Desk, request: ScanRequest) -> Outcome:
    """A page of a category, newest first (scanKV)."""
    entries = await desk.engine.kv.page(request.category, before_id=request.before_id, limit=request.limit)
    next_position = str(entries[-1].id) if len(entries) == request.limit else ""
    return Done(KvScan(kv=[view_kv(entry) for entry in entries], next_position=next_position))
