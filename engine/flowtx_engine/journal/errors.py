"""What can go wrong with a journal; see the laws in ``store.py``."""

from __future__ import annotations

from flowtx_dsl.errors import FlowtxError


class JournalError(FlowtxError):
    """The root of the journal's errors."""


class ConflictError(JournalError):
    """The journal holds something else than the write expected: somebody else was first. Nothing was written."""

    remedy = "Read the transaction again and decide anew."


class PiecesGone(ConflictError):
    """Pieces that a write or a read needs are not there, or not all: their payload was let go of meanwhile."""

    remedy = "Put the pieces again, under a new id; a reader reads the transaction again."


class JournalUnavailable(JournalError):
    """The database did not answer, is locked, full or read-only; whether the write happened is unknown."""

    remedy = "See that the database runs, has room, and may be written to; flowtx goes on by itself when it answers."


class SchemaError(JournalError):
    """The database's schema is not the one this version of flowtx knows."""

    remedy = "Run `flowtx db upgrade` with the newest flowtx that uses this database."


class JournalClosed(JournalUnavailable):
    """The journal was closed, or its committer has ended; it will not answer again."""

    remedy = "Open the journal anew and read what it holds; a write whose answer is missing may be in it."


class UnstorableWrite(JournalError):
    """A value of one write cannot be kept by this database; nothing of it was written, and trying again cannot help."""

    remedy = "Make the value smaller, or one that UTF-8 text and 64-bit numbers can hold."


class UnreadablePayload(JournalError):
    """A payload was written with a codec and cannot be decoded here; nothing was changed and the run waits as it is."""

    remedy = "Open the journal with the codec, and the keys, that it was written with: codec=, or --codec of a command."


class JournalUrlError(JournalError):
    """The URL names no journal that this version of flowtx can open."""

    remedy = "Use sqlite:///path/to/file.db, or memory:// for a journal that is gone with its process."
