"""Calling now what waits for its next attempt: resetNextCronTime and resetCronTime.

The law of this file: only calls that had no outcome are hastened. A deadline, a message's delay and a prepared
transaction keep their time: nothing could be done for them now.
"""

from __future__ import annotations

from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.operations.telling import fact_of, hastened
from flowtx.dtm.outcomes import Done, DtmError, Outcome
from flowtx.dtm.wire.queries import HastenRequest
from flowtx_dsl.errors import NoSuchTransaction
from flowtx_dsl.patterns.callback import callback
from flowtx_dsl.patterns.calling import Word
from flowtx_engine.journal.records import Filter, Transaction
from flowtx_engine.kernel.events import Event
from flowtx_engine.runtime.outside import Told

PAGE = 500
"""So many transactions are looked at in one go."""


async def reset_next_cron_time(desk: Desk, gid: str) -> Outcome:
    """Let one transaction's calls be made now; 200 for a final one too, for which there are none (12.14)."""
    try:
        await desk.engine.tell(gid, _decide)
    except NoSuchTransaction:
        return DtmError(f"no TransGlobal with gid: {gid} found", kind="crash")
    return Done()


async def reset_cron_time(desk: Desk, request: HastenRequest) -> Outcome:
    """Let the calls be made now of up to ``limit`` transactions that wait longer than ``timeout_s``."""
    waiting = await _waiting(desk, desk.engine.now_at() + request.timeout_s, request.limit + 1)
    for gid in waiting[: request.limit]:
        await desk.engine.tell(gid, _decide)
    has_remaining = len(waiting) > request.limit
    return Done({"has_remaining": has_remaining, "succeed_count": len(waiting) - has_remaining})


async def _waiting(desk: Desk, after_at: float, limit: int) -> list[str]:
    """The gids of unfinished transactions with a call whose next attempt is due after an instant, newest first."""
    found: list[str] = []
    before_id: int | None = None
    while page := await desk.engine.transactions(Filter(unfinished=True), before_id=before_id, limit=PAGE):
        found += [row.gid for row in page if row.last_error and row.wake_at is not None and row.wake_at > after_at]
        if len(found) >= limit:
            break
        before_id = page[-1].id
    return found[:limit]


def _decide(row: Transaction, events: list[Event]) -> Told | None:
    if row.is_final:
        return None
    told = hastened(row)
    facts = told.facts if told is not None else ()
    if row.workflow == callback.name:  # its next call may not have begun at all
        facts = (fact_of(Word(kind="hurry")), *facts)
    # They are due now, and recovery makes them: as with DTM, this request makes none itself.
    return Told(facts=facts, is_hastening=True) if facts else None
