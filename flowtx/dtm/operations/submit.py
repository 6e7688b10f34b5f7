"""Beginning the work of a transaction: submit."""

from __future__ import annotations

from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.outcomes import Done, DtmFailure, Outcome
from flowtx.dtm.sagas import saga_input
from flowtx.dtm.wire.answers import with_failure
from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.options import encode_options, options_of
from flowtx.dtm.wire.requests import TransactionRequest, check_gid
from flowtx_dsl.patterns.saga import saga
from flowtx_engine.journal.records import Transaction

PATTERNS_OF_DTM = frozenset({"saga", "tcc", "xa", "msg", "workflow"})


async def submit(desk: Desk, request: TransactionRequest) -> Outcome:
    """Begin a saga, or acknowledge one that runs already: finished branches are never called again (spec 12.2).

    With ``wait_result`` the outcome comes when the run ends or rests, at the latest after the server's request
    timeout and two seconds (spec 4.2, 4.8).
    """
    check_gid(request.gid)
    if request.trans_type != "saga":
        raise _cannot_run(request.trans_type)
    row, _is_new = await desk.engine.create(
        saga,
        saga_input(request, desk.settings),
        gid=request.gid,
        pattern="saga",
        options=encode_options(options_of(request, retry_interval_s=desk.settings.retry_interval_s)),
    )
    if row.pattern != request.trans_type:
        return DtmFailure(f"gid '{row.gid}' belongs to a transaction of type '{row.pattern}', cannot submit. FAILURE")
    if row.status != "submitted":
        return DtmFailure(f"current status '{row.status}', cannot sumbmit. FAILURE")
    if not request.wait_result:
        return Done()
    return _result_of(await desk.engine.rest(row.gid, timeout_s=desk.settings.request_timeout_s + 2))


def _cannot_run(trans_type: str) -> RequestError:
    if trans_type in PATTERNS_OF_DTM:
        return RequestError(f"this version of flowtx does not run transactions of type '{trans_type}' yet")
    return RequestError(f"unknown trans_type '{trans_type[:100]}', expected one of saga, tcc, xa, msg, workflow")


def _result_of(row: Transaction) -> Outcome:
    """The answer of wait_result (spec 4.8). A 409 does not mean rolled back: the run may be anywhere but at succeed."""
    if row.status == "succeed":
        return Done()
    return DtmFailure(with_failure(row.reason or "wait result not return success:"))
