"""Ending a transaction by force: forceStop."""

from __future__ import annotations

from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.outcomes import Done, DtmError, DtmFailure, Outcome
from flowtx_dsl.errors import NoSuchTransaction
from flowtx_engine.runtime.telling import AlreadyFinal


async def force_stop(desk: Desk, gid: str) -> Outcome:
    """End a transaction as failed; nothing is called any more (forceStop)."""
    try:
        await desk.engine.stop(gid)
    except NoSuchTransaction:
        return DtmError(f"no TransGlobal with gid: {gid} found")
    except AlreadyFinal as final:
        return DtmFailure(f"global transaction force stop error. status: {final.status}. error: FAILURE")
    return Done()
