"""Reading a journal without taking part in it: no node, no lease, nothing driven.

The law of this file: whoever only looks changes nothing; a database that is not there is not made by looking for it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from flowtx.cli.failures import Misused
from flowtx.cli.loading import load_codec
from flowtx_engine.journal.encoded import EncodedStore
from flowtx_engine.journal.sql import open_sqlite
from flowtx_engine.journal.store import Store


@contextmanager
def reading(url: str, codec: str | None = None) -> Generator[Store]:
    """The store at a URL, for reading, through the codec that ``module:name`` names.

    Raises ``JournalError`` when it cannot be used or does not exist.
    """
    if url == "memory://":
        raise Misused("memory:// is gone with the process that opened it\n  -> Name a database with --db or FLOWTX_DB.")
    loaded = load_codec(codec)
    store = open_sqlite(url, create=False, migrate=False)
    try:
        yield store if loaded is None else EncodedStore(store, loaded)
    finally:
        store.close()
