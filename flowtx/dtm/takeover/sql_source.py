"""DTM's store in MySQL, MariaDB or PostgreSQL (spec 6.1).

The law of this file: it only reads, in one transaction that the database knows to be read-only, so that what is read
belongs together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from flowtx.dtm.takeover.records import UNFINISHED, DtmBranch, DtmTopic, DtmTransaction, SourceError

PAGE = 500
"""Transactions read at once."""

DRIVERS: Mapping[str, str] = {
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}
"""The driver for a URL that names only its database."""

_PACKAGES: Mapping[str, str] = {"pymysql": "pymysql", "psycopg": "'psycopg[binary]'"}

_READ_ONLY: Mapping[str, tuple[str, ...]] = {
    "mysql": ("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SET SESSION TRANSACTION READ ONLY"),
    "postgresql": ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",),
    "sqlite": ("PRAGMA query_only = ON",),
}
"""What to say before the first look, so that nothing can be changed and every look sees the same."""

_TRANSACTIONS = text(
    "SELECT id, gid, trans_type, status, create_time, query_prepared, protocol, options, custom_data, rollback_reason"
    " FROM trans_global WHERE status IN :statuses AND id > :after ORDER BY id LIMIT :page"
).bindparams(bindparam("statuses", expanding=True))
_BRANCHES = text(
    "SELECT gid, branch_id, op, url, bin_data, status, create_time, finish_time"
    " FROM trans_branch_op WHERE gid IN :gids ORDER BY id"
).bindparams(bindparam("gids", expanding=True))
_FINISHED = text("SELECT count(*) FROM trans_global WHERE status NOT IN :statuses").bindparams(
    bindparam("statuses", expanding=True)
)
_TOPICS = text("SELECT k, v FROM kv WHERE cat = 'topics' ORDER BY id")


class SqlSource:
    """The three tables, by one connection."""

    def __init__(self, url: str, *, name: str) -> None:
        """Connects; ``name`` is what messages call the store. Raises ``SourceError``."""
        self._name = name
        self._engine = _engine_of(url, self._name)
        with self._translating():
            self._connection = self._connect()

    def _connect(self) -> Connection:
        connection = self._engine.connect()
        try:
            for statement in _READ_ONLY.get(self._engine.dialect.name, ()):
                connection.execute(text(statement))
            connection.commit()  # what was said counts for the transaction that the first look begins
        except BaseException:
            connection.close()
            raise
        return connection

    def unfinished(self) -> Iterator[DtmTransaction]:
        """See ``Source.unfinished``."""
        after = -1
        while True:
            values = {"statuses": list(UNFINISHED), "after": after, "page": PAGE}
            with self._translating():
                page = self._connection.execute(_TRANSACTIONS, values).mappings().all()
                branches = self._branches([row["gid"] for row in page])
            for row in page:
                yield _transaction_of(row, branches.get(row["gid"], []))
            if len(page) < PAGE:
                return
            after = page[-1]["id"]

    def _branches(self, gids: Sequence[str]) -> Mapping[str, list[DtmBranch]]:
        found: defaultdict[str, list[DtmBranch]] = defaultdict(list)
        if gids:
            for row in self._connection.execute(_BRANCHES, {"gids": list(gids)}).mappings():
                found[row["gid"]].append(_branch_of(row))
        return found

    def finished_count(self) -> int:
        """See ``Source.finished_count``."""
        with self._translating():
            return int(self._connection.execute(_FINISHED, {"statuses": list(UNFINISHED)}).scalar_one())

    def topics(self) -> Iterator[DtmTopic]:
        """See ``Source.topics``."""
        with self._translating():
            rows = self._connection.execute(_TOPICS).all()
        for name, value in rows:
            yield DtmTopic(name=name, value=value or "")

    def close(self) -> None:
        """See ``Source.close``."""
        self._connection.close()
        self._engine.dispose()

    @contextmanager
    def _translating(self) -> Generator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            # The driver's own words: SQLAlchemy's would add the statement with its values.
            said = getattr(error, "orig", None) or error
            raise SourceError(f"DTM's store at {self._name} cannot be read: {said}") from error


def _engine_of(url: str, name: str) -> Engine:
    try:
        parsed = make_url(url)
        driver = DRIVERS.get(parsed.drivername)
        return create_engine(parsed.set(drivername=driver) if driver else parsed, poolclass=NullPool)
    except (ArgumentError, NoSuchModuleError) as error:
        raise SourceError(
            f"{name} names no store of DTM's",
            remedy="Write mysql://user:password@host/dtm, postgresql://user:password@host/database or redis://host/0.",
        ) from error
    except ModuleNotFoundError as error:
        package = _PACKAGES.get(error.name or "", error.name)
        raise SourceError(
            f"{name} cannot be read: the Python package {error.name} is not installed",
            remedy=f"pip install {package}",
        ) from error


def _transaction_of(row: Mapping[Any, Any], branches: Sequence[DtmBranch]) -> DtmTransaction:
    return DtmTransaction(
        gid=row["gid"],
        trans_type=row["trans_type"],
        status=row["status"],
        created_at=_instant(row["create_time"]),
        query_prepared=row["query_prepared"] or "",
        protocol=row["protocol"] or "",
        options=row["options"] or "",
        custom_data=row["custom_data"] or "",
        rollback_reason=row["rollback_reason"] or "",
        branches=tuple(branches),
    )


def _branch_of(row: Mapping[Any, Any]) -> DtmBranch:
    return DtmBranch(
        branch_id=row["branch_id"],
        op=row["op"],
        url=row["url"],
        payload=bytes(row["bin_data"] or b""),
        status=row["status"],
        created_at=_instant(row["create_time"]),
        finished_at=_instant(row["finish_time"]),
    )


def _instant(value: datetime | str | None) -> float | None:
    """Seconds since the epoch; MySQL's times have no zone and are DTM's local ones, so this machine's count (6.1)."""
    if isinstance(value, str):  # SQLite has no times
        value = datetime.fromisoformat(value)
    return None if value is None else value.timestamp()
