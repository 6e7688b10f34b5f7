"""The barrier on plain connections (PEP 249): sqlite3, psycopg and PyMySQL.

The law of this file: whatever the connection's mode, the barrier has a real transaction, because it begins one where
the driver would not. Statements are rewritten to the style that the driver's module names.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, cast

from flowtx.client.barrier_connection import Parameters, already_open, ended_early
from flowtx.client.barrier_table import DialectName
from flowtx.client.errors import BarrierError


class DbApiConnection(Protocol):
    """A synchronous connection after PEP 249."""

    def cursor(self) -> object:
        """A cursor."""
        ...

    def commit(self) -> None:
        """Commit what is open."""
        ...

    def rollback(self) -> None:
        """Roll back what is open."""
        ...


class _Cursor(Protocol):
    rowcount: int

    def execute(self, operation: str, parameters: Mapping[str, object] | Sequence[object], /) -> object: ...
    def fetchone(self) -> Sequence[object] | Mapping[str, object] | None: ...
    def close(self) -> object: ...


class DbApiTransaction:
    """A ``LocalTransaction`` on a plain connection."""

    def __init__(self, connection: DbApiConnection) -> None:
        self._connection = connection
        self._driver = _driver_of(connection)
        self.dialect: DialectName = self._driver.dialect

    @property
    def _what(self) -> str:
        return f"the {self._driver.name} connection"

    def begin(self) -> None:
        """As ``LocalTransaction.begin``."""
        self.require_nothing_open()
        self._driver.begin(self._connection)

    def require_nothing_open(self) -> None:
        """Raises ``BarrierError`` where a transaction is open."""
        if self._driver.is_open(self._connection):
            raise already_open(self._what)

    def execute(self, statement: str, parameters: Parameters) -> int:
        """As ``LocalTransaction.execute``."""
        cursor = self._run(statement, parameters)
        try:
            return cursor.rowcount
        finally:
            cursor.close()

    def fetch_text(self, statement: str, parameters: Parameters) -> str | None:
        """As ``LocalTransaction.fetch_text``."""
        cursor = self._run(statement, parameters)
        try:
            row = cursor.fetchone()
        finally:
            cursor.close()
        if row is None:
            return None
        # A connection may be set up to give rows as mappings.
        return str(next(iter(row.values())) if isinstance(row, Mapping) else row[0])

    def check_still_open(self) -> None:
        """As ``LocalTransaction.check_still_open``."""
        if self._driver.is_closed(self._connection):
            raise ended_early(self._what)

    def commit(self) -> None:
        """As ``LocalTransaction.commit``."""
        self._driver.commit(self._connection)

    def rollback(self) -> None:
        """As ``LocalTransaction.rollback``."""
        self._driver.rollback(self._connection)

    def _run(self, statement: str, parameters: Parameters) -> _Cursor:
        operation, names = render(statement, self._driver.paramstyle)
        values = parameters if names is None else [parameters[name] for name in names]
        cursor = cast("_Cursor", self._connection.cursor())
        try:
            cursor.execute(operation, values)
        except BaseException:
            cursor.close()
            raise
        return cursor


_PARAMETER = re.compile(r":(\w+)", re.ASCII)


@lru_cache(maxsize=256)
def render(statement: str, paramstyle: str) -> tuple[str, tuple[str, ...] | None]:
    """A statement with ``:name`` parameters in a driver's style, and the names in order where it counts places.

    Raises ``BarrierError`` for a style that PEP 249 does not know.
    """
    names: tuple[str, ...] = tuple(_PARAMETER.findall(statement))
    match paramstyle:
        case "named":
            return statement, None
        case "pyformat":
            return _PARAMETER.sub(r"%(\1)s", statement), None
        case "qmark":
            return _PARAMETER.sub("?", statement), names
        case "format":
            return _PARAMETER.sub("%s", statement), names
        case "numeric":
            places = iter(range(1, len(names) + 1))
            return _PARAMETER.sub(lambda _: f":{next(places)}", statement), names
        case _:
            raise BarrierError(f"the driver's paramstyle is {paramstyle!r}, expected one that PEP 249 names")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Driver:
    """What differs between drivers.

    ``is_open`` says that a transaction is certainly open, ``is_closed`` that certainly none is.
    """

    name: str
    dialect: DialectName
    paramstyle: str
    begin: Callable[[Any], None]
    is_open: Callable[[Any], bool]
    is_closed: Callable[[Any], bool]
    commit: Callable[[Any], None]
    rollback: Callable[[Any], None]


def _driver_of(connection: DbApiConnection) -> _Driver:
    name = next((root for each in type(connection).__mro__ if (root := _root(each)) in _DRIVERS), None)
    if name is None or inspect.iscoroutinefunction(connection.commit):
        found = f"{type(connection).__module__}.{type(connection).__qualname__}"
        raise BarrierError(
            f"the connection is a {found}, expected a synchronous connection of {', '.join(sorted(_DRIVERS))}, or one "
            f"of SQLAlchemy",
            remedy="Use the driver through SQLAlchemy; on asyncio pass its AsyncConnection to call_async.",
        )
    paramstyle: str = sys.modules[name].paramstyle
    return _DRIVERS[name](name, paramstyle)


def _root(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _sqlite(name: str, paramstyle: str) -> _Driver:
    # Python 3.12's attribute: True commits each statement and makes commit() do nothing, False is always in a
    # transaction; its other value, and older Pythons, know in_transaction.
    def mode(connection: Any) -> bool | None:
        value: object = getattr(connection, "autocommit", None)
        return value if isinstance(value, bool) else None

    def begin(connection: Any) -> None:
        if mode(connection) is not False:
            # At once for writing: a reader that turns writer may be told that the database is locked.
            connection.execute("BEGIN IMMEDIATE")

    def end(word: str) -> Callable[[Any], None]:
        def run(connection: Any) -> None:
            if mode(connection) is False:
                getattr(connection, word)()
            elif connection.in_transaction:
                connection.execute(word)

        return run

    return _Driver(
        name=name,
        dialect="sqlite",
        paramstyle=paramstyle,
        begin=begin,
        is_open=lambda connection: mode(connection) is not False and connection.in_transaction,
        is_closed=lambda connection: not connection.in_transaction,
        commit=end("commit"),
        rollback=end("rollback"),
    )


def _psycopg(name: str, paramstyle: str) -> _Driver:
    idle = 0  # libpq's PQTRANS_IDLE

    def begin(connection: Any) -> None:
        if connection.autocommit:  # otherwise the first statement begins
            connection.execute("BEGIN")

    return _Driver(
        name=name,
        dialect="postgresql",
        paramstyle=paramstyle,
        begin=begin,
        is_open=lambda connection: connection.info.transaction_status != idle,
        is_closed=lambda connection: connection.info.transaction_status == idle,
        commit=lambda connection: connection.commit(),
        rollback=lambda connection: connection.rollback(),
    )


def _pymysql(name: str, paramstyle: str) -> _Driver:
    in_transaction = 1  # SERVER_STATUS_IN_TRANS, in every answer of the server
    return _Driver(
        name=name,
        dialect="mysql",
        paramstyle=paramstyle,
        begin=lambda connection: connection.begin(),
        is_open=lambda connection: bool(connection.server_status & in_transaction),
        is_closed=lambda connection: not connection.server_status & in_transaction,
        commit=lambda connection: connection.commit(),
        rollback=lambda connection: connection.rollback(),
    )


_DRIVERS: dict[str, Callable[[str, str], _Driver]] = {"psycopg": _psycopg, "pymysql": _pymysql, "sqlite3": _sqlite}
