"""Why a driver gives a run up, and how that is written down."""

from __future__ import annotations

from flowtx_dsl.errors import FlowtxError, NondeterminismError
from flowtx_engine.journal.errors import SchemaError, UnreadablePayload, UnstorableWrite
from flowtx_engine.journal.records import RowChange, Write
from flowtx_engine.kernel.events import Event, Parked
from flowtx_engine.runtime.history import event_of, row_of
from flowtx_engine.runtime.tools import Tools


class LostError(Exception):
    """This node may not drive the transaction any more: let it go without a word."""


class TooLongError(FlowtxError):
    """A run's journal has reached its limit; nothing more is performed."""

    remedy = "Raise journal_events_max, or stop the transaction by force."


STUCK = (NondeterminismError, SchemaError, TooLongError, UnreadablePayload, UnstorableWrite)
"""Errors that no retry can mend, only other code, or the right key: the run waits as it is."""


async def say_stuck(tools: Tools, gid: str, error: Exception) -> None:
    """Note in a run's journal, once, why it cannot go on; nothing is performed and it stays as it is."""
    reason = str(error)
    stored = await tools.journal.stored_history(gid)
    last = event_of((await tools.journal.whole(gid, stored[-1:]))[-1])
    if isinstance(last.fact, Parked) and last.fact.reason == reason:
        return
    at = max(tools.clock.now_at(), last.at)
    event = Event(seq=last.seq + 1, at=at, address="", fact=Parked(reason=reason))
    change = RowChange(updated_at=at, last_error=reason)
    await tools.journal.append(Write(gid=gid, rows=(row_of(gid, event),), change=change))
