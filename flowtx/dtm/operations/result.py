"""What ``wait_result`` answers (spec 4.8).

The law of this file: it waits and looks, and changes nothing. A 409 does not mean rolled back: the run may be anywhere
but at succeed.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio

from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.outcomes import Done, DtmError, DtmFailure, DtmOngoing, Outcome
from flowtx.dtm.wire.answers import with_failure
from flowtx_engine.journal.records import FINAL, Transaction
from flowtx_engine.kernel.events import Attempted, Event
from flowtx_engine.runtime.history import reason_of

NOT_YET = "wait result not return success:"
UNKNOWN_RESULT = (
    "your http/grpc result should be specified as in:\n"
    "http://d.dtm.pub/practice/arch.html#proto\n"
    "unkown result will be retried: {}"
)
"""What DTM's clients are told of a call without an outcome; the spelling is on the wire (spec 3.5)."""
LOOK_S = 0.1
"""How often a run is looked at that another node drives."""
WAIT_MAX_S = 60.0
"""How long an answer is waited for where DTM waits for every branch, however many there are."""


async def result_of(desk: Desk, row: Transaction, *, wanted: str = "succeed") -> Outcome:
    """The answer when the run has come to ``wanted``, or rests, or time is up."""
    # A round of DTM's saga ends two seconds after one request timeout; the other patterns' rounds have no such end.
    is_limited = row.pattern == "saga"
    limit_s = desk.settings.request_timeout_s + 2 if is_limited else WAIT_MAX_S
    row = await _rested(desk, row.gid, limit_s)
    if row.status == wanted:
        return Done()
    if row.pattern == "saga" or row.status in FINAL:
        return _not_yet(row)
    last = last_attempt(await desk.engine.history(row.gid))
    if last is None:
        return _not_yet(row)
    if last.outcome == "ongoing":
        return _not_yet(row) if row.pattern == "msg" else DtmOngoing("ONGOING")
    message = UNKNOWN_RESULT.format(reason_of(last.error))
    refused = DtmFailure(with_failure(message), status=row.status)
    return refused if last.outcome == "refused" else DtmError(message)


async def _rested(desk: Desk, gid: str, limit_s: float) -> Transaction:
    """The transaction when its run rests or has ended, here or on another node, or when time is up."""
    until_at = desk.engine.now_at() + limit_s
    row = await desk.engine.rest(gid, timeout_s=limit_s)
    while row.owner not in ("", desk.engine.node) and not row.is_final:
        now_at = desk.engine.now_at()
        if now_at >= until_at or (row.wake_at is not None and row.wake_at > now_at):
            break
        await trio.sleep(LOOK_S)
        row = await desk.engine.transaction(gid) or row
    return row


def _not_yet(row: Transaction) -> Outcome:
    return DtmFailure(with_failure(row.reason or NOT_YET), status=row.status)


def last_attempt(events: Iterable[Event]) -> Attempted | None:
    """The last attempt whose call has no outcome yet."""
    failing: dict[str, Attempted] = {}
    for event in events:
        if isinstance(event.fact, Attempted):
            failing.pop(event.address, None)
            failing[event.address] = event.fact
        elif event.address:
            failing.pop(event.address, None)
    return list(failing.values())[-1] if failing else None
