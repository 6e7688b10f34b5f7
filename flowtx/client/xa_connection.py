"""What xa asks of a database connection beyond what the barrier asks.

The law of this file: a transaction is prepared on a connection that had nothing open, and on MySQL that connection is
closed afterwards: MariaDB keeps a prepared transaction to its session until the session ends, and no other could finish
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from flowtx.client.barrier_connection import LocalTransaction
from flowtx.client.barrier_dbapi import DbApiConnection, DbApiTransaction
from flowtx.client.barrier_sqlalchemy import SqlAlchemyTransaction
from flowtx.client.errors import XaError


class XaConnection(LocalTransaction, Protocol):
    """A local transaction that can be made a prepared one."""

    def start(self) -> None:
        """As ``begin``, without opening what ``XA START`` would find open."""
        ...

    def outside(self, statement: str) -> None:
        """Run a statement that may stand in no transaction: only in autocommit mode, says MariaDB too."""
        ...

    def fetch_all(self, statement: str) -> list[Sequence[object]]:
        """All rows of a statement without parameters."""
        ...

    def discard(self) -> None:
        """Close the session with the database."""
        ...


def xa_connection(connection: Connection | DbApiConnection) -> XaConnection:
    """The way to a connection; raises ``XaError`` or ``BarrierError`` for what cannot be used."""
    if isinstance(connection, Connection):
        return _OnSqlAlchemy(connection)
    if isinstance(connection, Session):
        raise XaError(
            "the connection is an SQLAlchemy Session, expected a Connection or a driver's own",
            remedy="Pass engine.connect(); make a Session on it inside the business function if you need one.",
        )
    return _OnDbApi(connection)


class _OnSqlAlchemy(SqlAlchemyTransaction):
    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._plain = connection

    def start(self) -> None:
        self.begin()  # which sends nothing by itself

    def outside(self, statement: str) -> None:
        self.begin()
        level = self._plain.get_isolation_level()
        self.rollback()
        self._plain.execution_options(isolation_level="AUTOCOMMIT")
        try:
            self._plain.exec_driver_sql(statement)
        finally:
            self._plain.rollback()
            self._plain.execution_options(isolation_level=level)

    def fetch_all(self, statement: str) -> list[Sequence[object]]:
        was_open = self._plain.in_transaction()
        try:
            return [tuple(row) for row in self._plain.exec_driver_sql(statement)]
        finally:
            if not was_open:
                self._plain.rollback()

    def discard(self) -> None:
        self._plain.invalidate()
        self._plain.rollback()  # an invalid connection is used again after this only


class _OnDbApi(DbApiTransaction):
    def start(self) -> None:
        if self.dialect == "mysql":
            self.require_nothing_open()
        else:
            self.begin()

    def outside(self, statement: str) -> None:
        self.require_nothing_open()
        connection: Any = self._connection
        before = connection.get_autocommit() if self.dialect == "mysql" else connection.autocommit
        self._set_autocommit(True)
        try:
            self.execute(statement, {})
        finally:
            self._set_autocommit(before)

    def _set_autocommit(self, value: bool) -> None:
        connection: Any = self._connection
        if self.dialect == "mysql":
            connection.autocommit(value)
        else:
            connection.autocommit = value

    def fetch_all(self, statement: str) -> list[Sequence[object]]:
        cursor: Any = self._connection.cursor()
        try:
            cursor.execute(statement)
            rows = cast("list[object]", list(cursor.fetchall()))
        finally:
            cursor.close()
        return [_in_order(row) for row in rows]

    def discard(self) -> None:
        connection: Any = self._connection
        connection.close()


def _in_order(row: object) -> Sequence[object]:
    # A connection may be set up to give rows as mappings.
    return tuple(cast("Mapping[str, object]", row).values()) if isinstance(row, Mapping) else cast("tuple[object]", row)
