"""The operations of DTM's protocol: typed request in, outcome out, one function each (spec 2.4).

The law of this file: it decides by the stored row alone, stores nothing of a request it refuses, and knows no
transport. Errors that DTM words are worded as DTM does; all others in the sender's terms, never in a database's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from dataclasses import dataclass

from flowtx.dtm.gids import new_gid
from flowtx.dtm.outcomes import Done, DtmError, DtmFailure, Outcome
from flowtx.dtm.sagas import saga_input
from flowtx.dtm.wire.answers import with_failure
from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.options import encode_options, options_of
from flowtx.dtm.wire.queries import ListRequest
from flowtx.dtm.wire.requests import TransactionRequest, check_gid
from flowtx.dtm.wire.views import ListView, QueryView, view_saga_branches, view_transaction
from flowtx.settings import Settings
from flowtx.version import __version__
from flowtx_dsl.errors import EngineClosed, FlowtxError, NoSuchTransaction, Overloaded
from flowtx_dsl.patterns.saga import saga
from flowtx_engine.journal.errors import JournalError, JournalUnavailable
from flowtx_engine.journal.records import Filter, Transaction
from flowtx_engine.runtime.engine import AlreadyFinal, Engine

log = logging.getLogger("flowtx.dtm")

PATTERNS_OF_DTM = frozenset({"saga", "tcc", "xa", "msg", "workflow"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the operations work with."""

    engine: Engine
    settings: Settings


async def answered(operation: Awaitable[Outcome]) -> Outcome:
    """The outcome of an operation, with whatever it raises made one: the only place where errors become answers."""
    try:
        return await operation
    except RequestError as error:
        return DtmError(error.message)
    except (Overloaded, EngineClosed) as error:
        return DtmError(error.message, kind="overloaded")
    except JournalUnavailable as error:
        log.warning("an operation failed because the journal is unavailable: %s", error.message)
        return DtmError("the database of the transaction manager is not available; repeat the request later")
    except JournalError:
        log.exception("an operation failed in the journal")
        return DtmError("the database of the transaction manager refused the request; its log says why")
    except FlowtxError as error:
        return DtmError(error.message)
    except Exception:
        log.exception("an operation failed in a way that nobody foresaw")
        return DtmError("internal error of the transaction manager; its log says more")


async def make_gid() -> Outcome:
    """A gid nobody has (newGid)."""
    return Done({"dtm_result": "SUCCESS", "gid": new_gid()})


async def version() -> Outcome:
    """Which version serves (version)."""
    return Done({"version": __version__})


# -- submit


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


# -- looking and stopping


async def query(desk: Desk, gid: str) -> Outcome:
    """One transaction and its branches (query)."""
    if not gid:
        return DtmError("no gid specified")
    row = await desk.engine.transaction(gid)
    if row is None:
        return Done(QueryView(branches=[], transaction=None))
    # The row first: events that are newer than it show a branch done, never one undone that the row counts on.
    events = await desk.engine.history(gid)
    branches = view_saga_branches(row, events) if row.pattern == "saga" else []
    return Done(QueryView(branches=branches, transaction=view_transaction(row)))


async def list_transactions(desk: Desk, request: ListRequest) -> Outcome:
    """One transaction by gid, or a page of them, newest first (all)."""
    if request.gid:
        row = await desk.engine.transaction(request.gid)
        found = None if row is None else [view_transaction(row)]
        return Done(ListView(next_position=request.position, transactions=found))
    wanted = Filter(
        status=request.status,
        pattern=request.trans_type,
        created_from_at=request.created_from_at,
        created_to_at=request.created_to_at,
    )
    rows = await desk.engine.transactions(wanted, before_id=request.before_id, limit=request.limit)
    next_position = str(rows[-1].id) if len(rows) == request.limit else ""
    return Done(ListView(next_position=next_position, transactions=[view_transaction(row) for row in rows]))


async def force_stop(desk: Desk, gid: str) -> Outcome:
    """End a transaction as failed; nothing is called any more (forceStop)."""
    try:
        await desk.engine.stop(gid)
    except NoSuchTransaction:
        return DtmError(f"no TransGlobal with gid: {gid} found")
    except AlreadyFinal as final:
        return DtmFailure(f"global transaction force stop error. status: {final.status}. error: FAILURE")
    return Done()
