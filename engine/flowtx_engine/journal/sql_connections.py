"""A fixed number of connections to one database, lent to one thread at a time.

The law of this file: whoever holds a connection holds it alone; a connection that failed in a way its holder does not
understand is thrown away; closing waits for what is lent, and then nothing can be borrowed any more. Whoever waited
while another found the database locked is told so at once, and does not try the lock for as long again: a queue of them
would be answered in minutes.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from flowtx_engine.journal.errors import JournalClosed
from flowtx_engine.journal.sql_errors import is_locked, translated


class Connections:
    """Up to ``count`` connections, opened when they are first needed. One alone is also a lock."""

    def __init__(self, engine: Engine, count: int, name: str) -> None:
        self._engine = engine
        self._count = count
        self._name = name
        self._is_closed = False
        self._locked: tuple[float, SQLAlchemyError] | None = None
        """When the database was last found locked, and what it said."""
        # Last in, first out: a quiet process uses one connection and its warm cache. None: not opened yet.
        self._free: queue.LifoQueue[Connection | None] = queue.LifoQueue()
        for _ in range(count):
            self._free.put(None)

    @contextmanager
    def borrow(self) -> Generator[Connection]:
        """A connection for the calling thread, to be used in ``connection.begin()``; ``JournalClosed`` once closed."""
        asked_at = time.monotonic()
        connection = self._free.get()
        try:
            if self._is_closed:
                raise JournalClosed(f"{self._name} is closed")
            if self._locked is not None and asked_at < self._locked[0]:
                raise translated(self._locked[1], self._name)
            if connection is None:
                connection = self._engine.connect()
            yield connection
        except SQLAlchemyError as error:
            if is_locked(error):
                self._locked = time.monotonic(), error
            _discard(connection)
            connection = None
            raise
        finally:
            self._free.put(connection)

    def close(self) -> None:
        """Wait for what is lent, and close all; closing twice is harmless."""
        for connection in [self._free.get() for _ in range(self._count)]:
            _discard(connection)
        self._is_closed = True
        for _ in range(self._count):
            self._free.put(None)


def _discard(connection: Connection | None) -> None:
    if connection is not None:
        with contextlib.suppress(SQLAlchemyError):  # it is broken, which is why it goes
            connection.close()
