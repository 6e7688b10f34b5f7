"""A SQLite file: where it is, how it is opened, and whether it is still there.

The law of this file: what it hands out is durable. WAL with ``synchronous=FULL``, so a commit that returned survives
the loss of power; a write transaction takes the file's lock when it begins, so it never fails half way for want of it;
and a file that was deleted or replaced under us takes no more writes, for they would go nowhere.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from flowtx_engine.journal.errors import JournalUnavailable, JournalUrlError

OLDEST_SQLITE = (3, 35, 0)
"""The statements need UPDATE ... FROM (3.33) and lists of more than 999 values; 3.35 is what has been tried."""

CHECKPOINT_PAGES = 4000
"""How long the WAL grows before it is copied into the file; SQLite's 1000 copies the same index pages more often."""
CACHE_KIB = 16_000
"""What one connection keeps of the file in memory."""
WAL_BYTES_KEPT = 64 * 1024 * 1024
"""A WAL that a long reader let grow beyond this is cut when it can be."""
STATEMENTS_KEPT = 256
"""Prepared statements a connection keeps: more than there are."""

SETTINGS = (
    "PRAGMA synchronous = FULL",
    f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}",
    f"PRAGMA cache_size = -{CACHE_KIB}",
    f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteFile:
    """One database file; ``busy_timeout_s`` is how long a writer waits for another process."""

    path: Path
    busy_timeout_s: float

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"the database file {self.path}"

    def check_place(self, *, create: bool, write: bool) -> None:
        """Raise ``JournalUnavailable`` when the file cannot serve, before SQLite says so in fewer words."""
        directory = self.path.parent
        if self.path.is_dir():
            raise _bad_place(f"{self.path} is a directory, not a database file", "Name a file in it.")
        if not directory.is_dir():
            raise _bad_place(f"the directory {directory} does not exist", "Create it, or name another file.")
        if not self.path.exists() and not create:
            raise _bad_place(
                f"there is no database file {self.path}", "Check the URL, or create it: flowtx db upgrade."
            )
        # SQLite keeps the WAL beside the file, so it must be able to write to the directory too.
        for needed in (directory, self.path):
            if write and needed.exists() and not os.access(needed, os.W_OK):
                raise _bad_place(f"{needed} may not be written to", "Make it writable for this user.")

    def inode(self) -> tuple[int, int]:
        """What tells this file from another one of the same name; raises ``JournalUnavailable`` when it is gone."""
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise JournalUnavailable(f"{self.name} is gone: {error.strerror}", remedy="Put it back.") from error
        return found.st_dev, found.st_ino

    def replaced(self) -> JournalUnavailable:
        """The error for another file under this name."""
        return JournalUnavailable(
            f"{self.name} was replaced by another file while it was open",
            remedy="Put the old file back, or restart flowtx to use the new one.",
        )

    def size_bytes(self) -> int:
        """The file with its WAL."""
        wal = Path(f"{self.path}-wal")
        return self.path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)

    def create(self) -> None:
        """Make the file if there is none, and make it a WAL one; both stay."""
        connection = self._connect("rwc")
        try:
            self._use_wal(connection)
        finally:
            connection.close()

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        # Two processes that do this at once do not wait for each other by SQLite's timeout: one is told "locked".
        give_up_at = time.monotonic() + self.busy_timeout_s
        while True:
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                    raise
                time.sleep(0.01)
        if mode != "wal":
            raise _bad_place(
                f"{self.name} cannot use a write-ahead log (journal_mode stays {mode})",
                "Put it on a local disk: network file systems lack what SQLite's WAL needs.",
            )

    def writer(self, check: Callable[[], None] = lambda: None) -> Engine:
        """Connections whose transactions take the write lock when they begin; ``check`` is asked before each opens."""
        engine = self._engine(check)
        event.listen(engine, "begin", _begin_immediate)
        return engine

    def reader(self, check: Callable[[], None] = lambda: None) -> Engine:
        """Connections that cannot write, and where every statement sees what is committed; ``check`` as above."""
        return self._engine(check, "PRAGMA query_only = ON")

    def _engine(self, check: Callable[[], None], *more: str) -> Engine:
        def connect() -> sqlite3.Connection:
            check()
            return self._connect("rw", *more)

        # Payloads belong into no traceback, hence hide_parameters.
        return create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

    def _connect(self, mode: str, *more: str) -> sqlite3.Connection:
        # isolation_level None: Python's module begins no transactions of its own. Not "rwc" after the first time: a
        # connection opened later must not create an empty file where ours was deleted.
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode={mode}",
            uri=True,
            timeout=self.busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENTS_KEPT,
        )
        try:
            for setting in (*SETTINGS, *more):
                connection.execute(setting)
        except BaseException:
            connection.close()
            raise
        return connection


def sqlite_file(url: str, *, busy_timeout_s: float) -> SqliteFile:
    """The file a URL like ``sqlite:///bank.db`` names; raises ``JournalUrlError`` when it names none."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise JournalUnavailable(
            f"this Python comes with SQLite {sqlite3.sqlite_version}; flowtx needs {_dotted(OLDEST_SQLITE)}",
            remedy="Use a newer Python, or one built with a newer SQLite.",
        )
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise JournalUrlError(f"{url!r} is not the URL of a database") from error
    if parsed.get_backend_name() == "memory":
        raise JournalUrlError(f"{url!r} lives with its process; there is nothing that could be opened again")
    if parsed.get_backend_name() != "sqlite":
        raise JournalUrlError(f"journals in {parsed.get_backend_name()} are not supported yet: {parsed!r}")
    if not parsed.database or parsed.database == ":memory:":
        raise JournalUrlError(
            f"{url!r} names no file", remedy="Use memory:// for a journal that lives with its process."
        )
    if parsed.host or parsed.query:
        raise JournalUrlError(
            f"{url!r} names more than a file", remedy="Use sqlite:///relative.db or sqlite:////absolute.db."
        )
    # Absolute from here on: the process may change its directory.
    return SqliteFile(path=Path(parsed.database).absolute(), busy_timeout_s=busy_timeout_s)


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _bad_place(message: str, remedy: str) -> JournalUnavailable:
    return JournalUnavailable(message, remedy=remedy)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
