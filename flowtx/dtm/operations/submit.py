"""Beginning the work of a transaction: submit.

The law of this file: a repeated submission acknowledges and lets the run go on where it is: no branch that is done is
called again, none that is left is skipped (spec 12.1, 12.2).
"""

from __future__ import annotations

import msgspec

from flowtx.dtm.operations.begin import beginning_of, names_topics, submission_of
from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.operations.result import result_of
from flowtx.dtm.operations.telling import fact_of, hastened
from flowtx.dtm.operations.workflows import submit_workflow
from flowtx.dtm.outcomes import Done, DtmFailure, Outcome
from flowtx.dtm.wire.options import encode_options
from flowtx.dtm.wire.requests import TransactionRequest, check_gid
from flowtx_dsl.errors import NoSuchTransaction
from flowtx_dsl.patterns.calling import Word
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import Event
from flowtx_engine.runtime.outside import Told


async def submit(desk: Desk, request: TransactionRequest) -> Outcome:
    """Begin a transaction or a prepared one, or acknowledge one that runs already (submit).

    With ``wait_result`` the outcome comes when the run ends or rests (spec 4.8).
    """
    check_gid(request.gid)
    if request.trans_type == "workflow":
        return await submit_workflow(desk, request)
    # Of these most were prepared; and of a prepared one no topic is looked up again.
    is_mostly_known = request.trans_type in ("tcc", "xa") or names_topics(request)
    row = await _told(desk, request) if is_mostly_known else None
    if row is None:
        row, is_new = await _created(desk, request)
        if not is_new:
            row = await _told(desk, request)
    assert row is not None, f"{request.gid} was there and is gone"
    if row.pattern != request.trans_type:
        return DtmFailure(f"gid '{row.gid}' belongs to a transaction of type '{row.pattern}', cannot submit. FAILURE")
    if row.status in ("aborting", "failed", "succeed"):
        return DtmFailure(f"current status '{row.status}', cannot sumbmit. FAILURE")
    return await result_of(desk, row) if request.wait_result else Done()


async def _created(desk: Desk, request: TransactionRequest) -> tuple[Transaction, bool]:
    """The row of a transaction that begins with its submission, and whether it is new."""
    beginning = await beginning_of(desk, request)
    return await desk.engine.create(
        beginning.workflow,
        beginning.payload,
        gid=beginning.gid,
        pattern=beginning.pattern,
        options=beginning.options,
    )


async def _told(desk: Desk, request: TransactionRequest) -> Transaction | None:
    """The row of a transaction that exists, after its run was told of the submission; None when there is none."""

    def decide(row: Transaction, events: list[Event]) -> Told | None:
        if row.pattern != request.trans_type:
            return None
        if row.status == "submitted":
            return hastened(row)
        if row.status != "prepared":
            return None
        options, order = submission_of(desk, row, request)
        word = Word(kind="submit", data=msgspec.Raw(order))
        return Told(facts=(fact_of(word),), status="submitted", options=encode_options(options))

    try:
        return await desk.engine.tell(request.gid, decide)
    except NoSuchTransaction:
        return None
