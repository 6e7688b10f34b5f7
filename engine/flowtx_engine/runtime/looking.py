"""Looking a transaction up in the journal, for those who must find it.

The law of this file: a row that cannot be read is told from one that is not there.
"""

from __future__ import annotations

from flowtx_dsl.errors import NoSuchTransaction
from flowtx_engine.journal.codec import refuse_encoded_row
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import Event
from flowtx_engine.runtime.history import event_of


async def must_find(journal: Journal, gid: str) -> Transaction:
    """The row of a gid; raises ``NoSuchTransaction``, and ``UnreadablePayload`` when its codec is not here."""
    row = await journal.transaction(gid)
    if row is None:
        raise NoSuchTransaction(f"no transaction has the gid {gid}")
    refuse_encoded_row(row)
    return row


async def events_of(journal: Journal, gid: str) -> list[Event]:
    """A gid's journal, in order; empty when there is none."""
    return [event_of(row) for row in await journal.history(gid)]
