"""The barrier on SQLAlchemy: ``Connection`` and ``Session``, and through ``run_sync`` their asyncio forms.

The law of this file: SQLAlchemy's own transaction is used, never the driver's behind its back; it is known by identity,
so that a business function that commits and goes on is found out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast

from sqlalchemy import Connection, CursorResult, TextClause, text
from sqlalchemy.orm import Session

from flowtx.client.barrier_connection import Parameters, already_open, ended_early
from flowtx.client.barrier_table import DialectName
from flowtx.client.errors import BarrierError

_DIALECTS: dict[str, DialectName] = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}


class SqlAlchemyTransaction:
    """A ``LocalTransaction`` on a connection or a session."""

    def __init__(self, connection: Connection | Session) -> None:
        self._connection = connection
        self._transaction: object = None
        dialect = connection.dialect if isinstance(connection, Connection) else connection.get_bind().dialect
        if dialect.name not in _DIALECTS:
            raise BarrierError(f"{self._what} speaks {dialect.name}, expected one of {', '.join(_DIALECTS)}")
        self.dialect: DialectName = _DIALECTS[dialect.name]

    @property
    def _what(self) -> str:
        return f"the SQLAlchemy {type(self._connection).__name__}"

    def begin(self) -> None:
        """As ``LocalTransaction.begin``."""
        if self._connection.in_transaction():
            raise already_open(self._what)
        self._transaction = self._connection.begin()
        connection = self._connection if isinstance(self._connection, Connection) else self._connection.connection()
        if _commits_each_statement(connection):
            self._connection.rollback()
            raise BarrierError(
                f"{self._what} is in autocommit mode, where each statement commits itself",
                remedy="Pass a connection without isolation_level='AUTOCOMMIT': a failing business function must take "
                "the barrier's rows back with it.",
            )

    def execute(self, statement: str, parameters: Parameters) -> int:
        """As ``LocalTransaction.execute``."""
        result = self._connection.execute(_text(statement), dict(parameters))
        return cast("CursorResult[tuple[object, ...]]", result).rowcount

    def fetch_text(self, statement: str, parameters: Parameters) -> str | None:
        """As ``LocalTransaction.fetch_text``."""
        found: object = self._connection.execute(_text(statement), dict(parameters)).scalar()
        return None if found is None else str(found)

    def check_still_open(self) -> None:
        """As ``LocalTransaction.check_still_open``."""
        if self._connection.get_transaction() is not self._transaction:
            raise ended_early(self._what)

    def commit(self) -> None:
        """As ``LocalTransaction.commit``."""
        self._connection.commit()

    def rollback(self) -> None:
        """As ``LocalTransaction.rollback``."""
        self._connection.rollback()


@lru_cache(maxsize=64)
def _text(statement: str) -> TextClause:
    return text(statement)


def _commits_each_statement(connection: Connection) -> bool:
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        return True
    pooled = connection.connection
    if pooled.dbapi_connection is None:
        return False
    try:
        autocommit = connection.dialect.detect_autocommit_setting(pooled.dbapi_connection)
    except (NotImplementedError, AttributeError):  # the driver cannot say; the option above is all there is
        return False
    # With SQLite's driver in autocommit mode an event handler may have sent BEGIN, as SQLAlchemy's manual advises.
    return autocommit and not getattr(pooled.driver_connection, "in_transaction", False)
