"""Telling a run something from the command line, beside the servers that drive it, or while none runs.

The law of this file: it writes behind the fence like everybody else, and leaves the driving to whoever has the code.
"""

from __future__ import annotations

import time

import msgspec

from flowtx.cli.failures import Misused
from flowtx_dsl.errors import NoSuchTransaction
from flowtx_engine.journal.errors import ConflictError
from flowtx_engine.journal.records import Transaction
from flowtx_engine.journal.store import Store
from flowtx_engine.journal.whole import WholeStore
from flowtx_engine.runtime.history import event_of
from flowtx_engine.runtime.outside import Decide, write_of

TRIES_MAX = 100
"""So often somebody else may be first before it is a bug."""


def tell(store: Store, gid: str, decide: Decide) -> Transaction:
    """Append what ``decide`` makes of a transaction, and return its row; raises what it raises."""
    store = WholeStore(store)
    for _ in range(TRIES_MAX):
        # In this order: if the row is newer than the journal that was read, the fence says so.
        events = [event_of(stored) for stored in store.history(gid)]
        row = store.transaction(gid)
        if row is None:
            raise NoSuchTransaction(f"no transaction has the gid {gid}", remedy="`flowtx list` shows those there are.")
        told = decide(row, events)
        if told is None:
            return row
        write, row = write_of(row, events, told, now_at=time.time(), owner=row.owner)
        (result,) = store.commit([write])
        if result is None:
            return row
        if not isinstance(result, ConflictError):
            raise result
    raise AssertionError(f"{gid}: somebody else was first {TRIES_MAX} times in a row")


def json_of(value: str | None) -> bytes:
    """A ``--value`` as JSON, null when it is left out."""
    if value is None:
        return b"null"
    try:
        return msgspec.json.encode(msgspec.json.decode(value))
    except msgspec.DecodeError as error:
        raise Misused(
            f"--value is not JSON: {error}\n  -> Text stands in double quotes, and the whole in single ones."
        ) from error
