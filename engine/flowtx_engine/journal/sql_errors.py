"""What SQLite says went wrong, as an error of the journal that a person can act on.

The law of this file: every foreign exception is translated here, and what cannot be told apart becomes
``JournalUnavailable`` with its cause, because then the outcome of a write is unknown.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy.exc import DBAPIError

from flowtx_engine.journal.errors import JournalError, JournalUnavailable, SchemaError

BUSY = "{name} is locked by another process"
FULL = "{name} cannot grow: the disk is full, or the file has reached its size limit"
READ_ONLY = "{name} is read-only: the file, its directory or its disk may not be written to"
UNREADABLE = "{name} cannot be opened: a directory is missing, or the file or directory may not be accessed"
FAULTY = "{name} failed to be read or written: {error}"
DAMAGED = "{name} is damaged: {error}"

_MESSAGES: Mapping[int, str] = MappingProxyType(
    {
        sqlite3.SQLITE_BUSY: BUSY,
        sqlite3.SQLITE_LOCKED: BUSY,
        sqlite3.SQLITE_FULL: FULL,
        sqlite3.SQLITE_READONLY: READ_ONLY,
        sqlite3.SQLITE_PERM: UNREADABLE,
        sqlite3.SQLITE_CANTOPEN: UNREADABLE,
        sqlite3.SQLITE_IOERR: FAULTY,
        sqlite3.SQLITE_CORRUPT: DAMAGED,
    }
)

_REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        BUSY: "End the process that keeps a write transaction open; flowtx goes on by itself when it is released.",
        FULL: "Make room; flowtx goes on by itself.",
        READ_ONLY: "Make them writable for this user; flowtx goes on by itself.",
        UNREADABLE: "Create the directory, and let this user read and write it and the file.",
        FAULTY: "See what the system log says of the disk; flowtx goes on by itself when it answers.",
        DAMAGED: "Stop flowtx, keep a copy of the file, and restore a backup, or see what `.recover` of sqlite3 finds.",
    }
)

_TAKEN = frozenset({sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE})


def translated(error: Exception, name: str) -> JournalError:
    """The journal's error for a foreign one; ``name`` is what messages call the database."""
    if isinstance(error, JournalError):
        return error
    code = _code_of(error)
    if code & 0xFF == sqlite3.SQLITE_NOTADB:
        return SchemaError(f"{name} is not a SQLite database", remedy="Choose another file, or move that one away.")
    template = _MESSAGES.get(code & 0xFF)
    if template is None:
        return JournalUnavailable(f"{name} failed: {type(_origin(error)).__name__}: {_origin(error)}")
    return JournalUnavailable(template.format(name=name, error=_origin(error)), remedy=_REMEDIES[template])


def is_locked(error: Exception) -> bool:
    """True when another process kept the database locked for as long as was waited."""
    return _MESSAGES.get(_code_of(error) & 0xFF) == BUSY


def is_taken(error: Exception) -> bool:
    """True when a key of a row is in the database already."""
    return _code_of(error) in _TAKEN


def is_unstorable(error: Exception) -> bool:
    """True when the fault lies in a value, so that another write would have gone well."""
    if isinstance(error, UnicodeError | OverflowError):
        return True
    origin = _origin(error)
    # SQLITE_TOOBIG is a DataError; a NaN becomes NULL and meets NOT NULL.
    return isinstance(origin, sqlite3.DataError | sqlite3.IntegrityError) and not is_taken(error)


def _origin(error: Exception) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _code_of(error: Exception) -> int:
    code: object = getattr(_origin(error), "sqlite_errorcode", 0)
    return code if isinstance(code, int) else 0
