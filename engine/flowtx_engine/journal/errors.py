"""What can go wrong with a journal; see the laws in ``store.py``."""

from __future__ import annotations

from flowtx_dsl.errors import FlowtxError


class JournalError(FlowtxError):
    """The root of the journal's errors."""


class ConflictError(JournalError):
    """The journal holds something else than the write expected: somebody else was first. Nothing was written."""

    remedy = "Read the transaction again and decide anew."


class JournalUnavailable(JournalError):
    """The database did not answer, is locked, full or read-only; whether the write happened is unknown."""

    remedy = "See that the database runs, has room, and may be written to; flowtx goes on by itself when it answers."


class SchemaError(JournalError):
    """The database's schema is not the one this version of flowtx knows."""

    remedy = "Run `flowtx db upgrade` with the newest flowtx that uses this database."
