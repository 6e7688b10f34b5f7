"""Storing a transaction that waits for its submission: prepare."""

from __future__ import annotations

from flowtx.dtm.operations.begin import Beginning, beginning_of
from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.outcomes import Done, DtmFailure, Outcome
from flowtx.dtm.wire.requests import TransactionRequest
from flowtx_engine.journal.records import Transaction


async def prepare(desk: Desk, request: TransactionRequest) -> Outcome:
    """Store a transaction as prepared, or acknowledge that it is: nothing of it is changed then (prepare)."""
    row, _ = await store_prepared(desk, await beginning_of(desk, request))
    if row.status != "prepared":
        return DtmFailure(f"current status '{row.status}', cannot prepare. FAILURE")
    return Done()


async def store_prepared(desk: Desk, beginning: Beginning) -> tuple[Transaction, bool]:
    """The row of a transaction, and whether it is new."""
    return await desk.engine.prepare(
        beginning.workflow,
        beginning.payload,
        gid=beginning.gid,
        pattern=beginning.pattern,
        options=beginning.options,
        wake_after_s=beginning.wake_after_s,
    )
