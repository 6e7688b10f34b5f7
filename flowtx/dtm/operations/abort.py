"""Turning a prepared transaction round: abort.

The law of this file: what is stored decides, not what the request says of it (spec 12.21).
"""

from __future__ import annotations

from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.operations.result import result_of
from flowtx.dtm.operations.telling import ending_with, fact_of, hastened
from flowtx.dtm.outcomes import Done, DtmError, DtmFailure, Outcome
from flowtx.dtm.wire.options import decode_options
from flowtx.dtm.wire.requests import TransactionRequest
from flowtx_dsl.errors import FlowtxError, NoSuchTransaction
from flowtx_dsl.patterns.calling import Word
from flowtx_dsl.patterns.msg import msg
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import Event
from flowtx_engine.runtime.outside import Told


class _Refused(FlowtxError):
    """This transaction cannot be aborted as it stands."""


async def abort(desk: Desk, request: TransactionRequest) -> Outcome:
    """Cancel a tcc, roll an xa back, or drop a message, while it is only prepared (abort).

    A tcc or xa that turns round already is told again; of a message nothing is called.
    """
    now_at = desk.engine.now_at()

    def decide(row: Transaction, events: list[Event]) -> Told | None:
        if row.pattern == "msg" and row.status == "prepared":
            word = Word(kind="abort")
            at = max(now_at, events[-1].at)
            return Told(facts=(fact_of(word), ending_with(msg, row, events, word, at)))
        if row.pattern in ("tcc", "xa") and row.status == "prepared":
            word = Word(kind="abort", reason=request.rollback_reason)
            return Told(facts=(fact_of(word),), status="aborting", reason=request.rollback_reason)
        if row.pattern in ("tcc", "xa") and row.status == "aborting":
            return hastened(row)
        raise _Refused(f"trans type: '{row.pattern}' current status '{row.status}', cannot abort. FAILURE")

    try:
        row = await desk.engine.tell(request.gid, decide)
    except NoSuchTransaction:
        return DtmError(f"no TransGlobal with gid: {request.gid} found", kind="crash")
    except _Refused as refused:
        return DtmFailure(refused.message)
    if row.pattern != "msg" and decode_options(row.options).wait_result:
        return await result_of(desk, row, wanted="failed")
    return Done()
