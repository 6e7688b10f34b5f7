"""The journal in SQL, and the opening of any journal by its URL.

The law of this file: one connection writes, several read, and whatever the database says becomes an error of the
journal, in words a person can act on. SQLite is the one dialect today; the next will be other statements behind this
store.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Executable
from sqlalchemy.exc import SQLAlchemyError

from flowtx_engine.journal import sql_pieces, sql_places, sql_prune, sql_schedules
from flowtx_engine.journal import sql_statements as statements
from flowtx_engine.journal.checks import kv_conflict_of
from flowtx_engine.journal.errors import SchemaError
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.migrations import check_version, newest_version, upgrade, version_of
from flowtx_engine.journal.places import Admitted, LimitRule
from flowtx_engine.journal.records import Filter, InPieces, JournalRow, KvEntry, Transaction, Write
from flowtx_engine.journal.schedules import CronSchedule, Tick
from flowtx_engine.journal.sql_commit import put
from flowtx_engine.journal.sql_connections import Connections
from flowtx_engine.journal.sql_errors import translated
from flowtx_engine.journal.sqlite_file import SqliteFile, sqlite_file
from flowtx_engine.journal.store import Store, WriteResult

READERS_MAX = 4
"""Connections for reading; as many as ``Journal`` reads at once."""
BUSY_TIMEOUT_S = 5.0
"""How long a writer waits for another process before it says that the file is locked."""
FORGET_AFTER_S = 24 * 3600.0
"""How long a dead node that owns nothing is remembered."""
IDS_MAX = 500
"""How many ids one statement names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDescription:
    """A database for people: ``counts`` are transactions by status, ``size_bytes`` includes the write-ahead log."""

    url: str
    dialect: str
    schema_version: int
    counts: Mapping[str, int]
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """The schema's version before, None for a database without one, and after."""

    before: int | None
    after: int


class SqlStore:
    """A ``Store`` in a SQLite file; made by ``open_sqlite``."""

    is_local: bool = False

    def __init__(self, file: SqliteFile, url: str) -> None:
        self._file = file
        self._url = url
        # Threads that write take turns here, in order, and not by SQLite's waiting, which sleeps and may starve one.
        self._writer = Connections(file.writer(self._check_in_place), 1, file.name)
        self._readers = Connections(file.reader(self._check_in_place), READERS_MAX, file.name)
        self._admission = sql_places.Admission()
        self._inode: tuple[int, int] | None = None
        with self._writer.borrow():  # an open file keeps its inode to itself, so from now on no other can have it
            self._inode = file.inode()

    def __repr__(self) -> str:
        return f"<SqlStore {self._url}>"

    # --- writing ---

    def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        """See ``Store.commit``."""
        with self._translating(), self._writer.borrow() as connection:
            self._check_in_place()
            return put(connection, writes)

    def claim(self, node: str, now_at: float, limit: int, workflows: Sequence[tuple[str, str]]) -> list[Transaction]:
        """See ``Store.claim``; what ``node`` owns already is not among them."""
        with self._writing() as connection:
            due = sorted(_due(connection, node, now_at, limit, workflows))[:limit]
            ids = [id for _, id in due]
            for start in range(0, len(ids), IDS_MAX):
                some = {"ids": ids[start : start + IDS_MAX]}
                connection.execute(statements.CLAIM, {**some, "node": node, "now_at": now_at})
            return _by_ids(connection, ids)

    def beat(self, node: str, now_at: float, alive_until_at: float) -> None:
        """See ``Store.beat``."""
        with self._writing() as connection:
            values = {"name": node, "until_at": alive_until_at}
            if not connection.execute(statements.BEAT, values).rowcount:
                connection.execute(statements.FIRST_BEAT, values)
            if connection.execute(statements.FORGET, {"before_at": now_at - FORGET_AFTER_S}).rowcount:
                connection.execute(statements.FORGET_LOADED)

    def release(self, node: str, now_at: float) -> None:
        """See ``Store.release``; finished transactions stay as they are."""
        with self._writing() as connection:
            connection.execute(statements.RELEASE, {"owner_before": node, "now_at": now_at})
            connection.execute(statements.LEAVE, {"name": node})
            connection.execute(statements.UNDECLARE, {"name": node})

    def declare(self, node: str, workflows: Sequence[tuple[str, str]]) -> None:
        """See ``Store.declare``."""
        with self._writing() as connection:
            connection.execute(statements.UNDECLARE, {"name": node})
            rows = [{"node": node, "workflow": name, "version": version} for name, version in dict.fromkeys(workflows)]
            if rows:
                connection.execute(statements.DECLARE, rows)

    def loaded(self, now_at: float) -> set[tuple[str, str]]:
        """See ``Store.loaded``."""
        with self._reading() as connection:
            return {(name, version) for name, version in connection.execute(statements.LOADED, {"now_at": now_at})}

    # --- places ---

    def admit(self, node: str, now_at: float, limit: int, rules: Sequence[LimitRule]) -> Admitted:
        """See ``PlaceStore.admit``."""
        with self._reading() as connection:
            if not sql_places.anybody_waits(connection, rules):
                return Admitted()
        with self._writing() as connection:
            ids, next_at = self._admission.admit(connection, node, now_at, limit, rules)
            rows = _by_ids(connection, ids)
        return Admitted(transactions=tuple(rows), next_at=next_at)

    def put_back(self, gid: str, node: str) -> bool:
        """See ``PlaceStore.put_back``."""
        with self._writing() as connection:
            return bool(connection.execute(sql_places.PUT_BACK, {"of": gid, "node": node}).rowcount)

    def waiting_places(self, gids: Sequence[str]) -> Mapping[str, str]:
        """See ``PlaceStore.waiting_places``."""
        found: dict[str, str] = {}
        with self._reading() as connection:
            for start in range(0, len(gids), IDS_MAX):
                some = {"gids": gids[start : start + IDS_MAX]}
                for gid, key in connection.execute(sql_places.WAITING_PLACES, some):
                    found[gid] = key
        return found

    # --- pieces ---

    def pieces(self, of: InPieces, first: int, limit: int) -> list[bytes]:
        """See ``PieceStore.pieces``."""
        with self._reading() as connection:
            return sql_pieces.read(connection, of, first, limit)

    def uncounted(self, node: str, now_at: float, limit: int) -> list[str]:
        """See ``PieceStore.uncounted``."""
        with self._reading() as connection:
            return sql_pieces.uncounted(connection, node, now_at, limit)

    def sweep(self, ids: Sequence[str], piece_max: int) -> int:
        """See ``PieceStore.sweep``."""
        with self._writing() as connection:
            return sql_pieces.sweep(connection, ids, piece_max)

    # --- schedules ---

    def put_schedule(self, schedule: CronSchedule) -> None:
        """See ``ScheduleStore.put_schedule``."""
        with self._writing() as connection:
            sql_schedules.put_schedule(connection, schedule)

    def delete_schedule(self, name: str) -> bool:
        """See ``ScheduleStore.delete_schedule``."""
        with self._writing() as connection:
            return sql_schedules.delete_schedule(connection, name)

    def schedules(self) -> list[CronSchedule]:
        """See ``ScheduleStore.schedules``."""
        with self._reading() as connection:
            return sql_schedules.all_schedules(connection)

    def due_schedules(self, now_at: float) -> tuple[list[CronSchedule], float | None]:
        """See ``ScheduleStore.due_schedules``."""
        with self._reading() as connection:
            return sql_schedules.due_schedules(connection, now_at)

    def tick(self, tick: Tick) -> bool:
        """See ``ScheduleStore.tick``."""
        with self._writing() as connection:
            return sql_schedules.tick(connection, tick)

    def kv_put(self, category: str, key: str, value: str, *, version: int, now_at: float) -> None:
        """See ``Store.kv_put``."""
        with self._writing() as connection:
            found = connection.scalar(statements.KV_VERSION, {"cat": category, "k": key})
            if version != (found or 0):
                raise kv_conflict_of(category, key, version, found)
            values = {"cat": category, "k": key, "v": value, "now_at": now_at}
            if version:
                connection.execute(statements.KV_UPDATE, {**values, "before": version})
            else:
                connection.execute(statements.KV_INSERT, values)

    def kv_delete(self, category: str, key: str) -> bool:
        """See ``Store.kv_delete``."""
        with self._writing() as connection:
            return connection.execute(statements.KV_DELETE, {"cat": category, "k": key}).rowcount > 0

    def prune(self, ended_before_at: float, limit: int) -> int:
        """See ``Store.prune``; what is to go is looked for by a reader, because that may take long."""
        with self._reading() as connection:
            ids = sql_prune.ended(connection, ended_before_at, limit)
        if not ids:
            return 0
        with self._writing() as connection:
            return sql_prune.delete_ended(connection, ids, ended_before_at)

    def empty(self) -> None:
        """See ``Store.empty``."""
        with self._writing() as connection:
            for statement in statements.EMPTY:
                connection.execute(statement)

    # --- reading ---

    def transaction(self, gid: str) -> Transaction | None:
        """See ``Store.transaction``."""
        with self._reading() as connection:
            return next(_transactions(connection, statements.TRANSACTION, {"gid": gid}), None)

    def history(self, gid: str, from_seq: int = 0) -> list[JournalRow]:
        """See ``Store.history``."""
        with self._reading() as connection:
            rows = connection.execute(statements.HISTORY, {"gid": gid, "from_seq": from_seq})
            return [
                JournalRow(gid=gid, seq=seq, kind=kind, address=address, data=data, at=at)
                for seq, kind, address, data, at in rows
            ]

    def histories(self, gids: Sequence[str], row_max: int) -> dict[str, list[JournalRow]]:
        """See ``Store.histories``; the oldest transactions first, as far as the rows go."""
        found: dict[str, list[JournalRow]] = {}
        with self._reading() as connection:
            rows = connection.execute(statements.HISTORIES, {"gids": list(gids), "limit": row_max + 1})
            for count, (gid, seq, kind, address, data, at) in enumerate(rows):
                if count == row_max:  # there is more than this, and it may be more of the last one
                    found.pop(gid, None)
                    break
                row = JournalRow(gid=gid, seq=seq, kind=kind, address=address, data=data, at=at)
                found.setdefault(gid, []).append(row)
        return found

    def transactions(self, wanted: Filter, *, before_id: int | None, limit: int) -> list[Transaction]:
        """See ``Store.transactions``."""
        with self._reading() as connection:
            return list(_transactions(connection, statements.page(wanted, before_id, limit), {}))

    def next_wake_at(self, workflows: Sequence[tuple[str, str]]) -> float | None:
        """See ``Store.next_wake_at``."""
        with self._reading() as connection:
            times = [
                connection.scalar(statements.NEXT_WAKE_AT, {"workflow": workflow, "version": version})
                for workflow, version in dict.fromkeys(workflows)
            ]
        return min((at for at in times if at is not None), default=None)

    def owned(self, node: str) -> list[str]:
        """See ``Store.owned``; in the order of their ids."""
        with self._reading() as connection:
            return list(connection.scalars(statements.OWNED, {"node": node}))

    def nudged(self, node: str, since_at: float) -> list[str]:
        """See ``Store.nudged``; in the order of their ids."""
        with self._reading() as connection:
            return list(connection.scalars(statements.NUDGED, {"node": node, "since_at": since_at}))

    def kv_page(self, category: str, key: str, *, before_id: int | None, limit: int) -> list[KvEntry]:
        """See ``Store.kv_page``."""
        with self._reading() as connection:
            rows = connection.execute(statements.kv_page(category, key, before_id, limit))
            return [KvEntry(**row) for row in rows.mappings()]

    def describe(self) -> StoreDescription:
        """What a person wants to know of a database; counting a million transactions takes a fraction of a second."""
        with self._reading() as connection:
            counts = {str(status): int(count) for status, count in connection.execute(statements.COUNTS)}
            check_version(connection, self._file.name)
            return StoreDescription(
                url=self._url,
                dialect=connection.dialect.name,
                schema_version=newest_version(),
                counts=counts,
                size_bytes=self._file.size_bytes(),
            )

    def close(self) -> None:
        """See ``Store.close``; waits for the calls that are under way."""
        self._readers.close()
        self._writer.close()

    @contextmanager
    def _writing(self) -> Generator[Connection]:
        with self._translating(), self._writer.borrow() as connection:
            self._check_in_place()
            with connection.begin():
                yield connection

    @contextmanager
    def _reading(self) -> Generator[Connection]:
        with self._translating(), self._readers.borrow() as connection, connection.begin():
            yield connection

    @contextmanager
    def _translating(self) -> Generator[None]:
        try:
            with _translating(self._file):
                yield
        except SchemaError as error:
            # It was a database when it was opened. Whoever outlives an unavailable journal must outlive this one too.
            if isinstance(error.__cause__, SQLAlchemyError):
                raise self._file.replaced() from error
            raise

    def _check_in_place(self) -> None:
        """Raise before a write goes into a file that nobody will find again: SQLite itself would not notice.

        And before another file is opened beside ours: SQLite would then cut the index of the WAL, which goes by name,
        under the connections that have it in memory, and the system would end the process (SIGBUS).
        """
        if self._inode is not None and self._file.inode() != self._inode:
            raise self._file.replaced()


def open_sqlite(
    url: str, *, create: bool = True, migrate: bool = True, busy_timeout_s: float = BUSY_TIMEOUT_S
) -> SqlStore:
    """The journal in a file like ``sqlite:///bank.db``, brought to the newest schema.

    ``create=False`` wants the file to be there, ``migrate=False`` leaves it as it is and wants the schema to be right.
    ``busy_timeout_s`` is how long a write waits for another process that writes. Raises ``JournalUrlError``,
    ``JournalUnavailable`` when the file cannot be used, and ``SchemaError`` when it is no journal of this version.
    """
    file = sqlite_file(url, busy_timeout_s=busy_timeout_s)
    with _translating(file):
        if migrate:
            _upgrade(file, create=create)
        else:
            file.check_place(create=create, write=False)
            with file.reader().connect() as connection:
                check_version(connection, file.name)
        return SqlStore(file, url)


def upgrade_store(url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Upgrade:
    """Bring a database to the newest schema, creating it if there is none. Raises as ``open_sqlite`` does."""
    file = sqlite_file(url, busy_timeout_s=busy_timeout_s)
    with _translating(file):
        return _upgrade(file, create=True)


def open_store(url: str) -> Store:
    """The journal that a URL names: ``sqlite:///path`` or ``memory://``; raises as ``open_sqlite`` does."""
    return MemoryStore() if url == "memory://" else open_sqlite(url)


def _upgrade(file: SqliteFile, *, create: bool) -> Upgrade:
    file.check_place(create=create, write=True)
    file.create()
    with file.reader().connect() as connection:
        newest = newest_version()
        if version_of(connection, file.name) == newest:  # the usual case must not wait for whoever writes just now
            return Upgrade(before=newest, after=newest)
    with file.writer().connect() as connection, connection.begin():
        before, after = upgrade(connection, file.name)
    return Upgrade(before=before, after=after)


@contextmanager
def _translating(file: SqliteFile) -> Generator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise translated(error, file.name) from error


def _due(
    connection: Connection, node: str, now_at: float, limit: int, workflows: Sequence[tuple[str, str]]
) -> list[tuple[float, int]]:
    """When they were due, and the ids, of what ``node`` may take; at most ``limit`` an owner and workflow."""
    due: list[tuple[float, int]] = []
    for owner in _absent_owners(connection, node, now_at):
        for workflow, version in dict.fromkeys(workflows):
            wanted = {"owner": owner, "workflow": workflow, "version": version, "now_at": now_at, "limit": limit}
            due += [(wake_at, id) for wake_at, id in connection.execute(statements.DUE, wanted)]
    return due


def _absent_owners(connection: Connection, node: str, now_at: float) -> Iterator[str]:
    """Nobody, and every dead owner but ``node`` itself, which is not dead to itself."""
    alive = set(connection.scalars(statements.ALIVE, {"now_at": now_at}))
    owner: str | None = ""
    while owner is not None:
        if owner not in alive and owner != node:
            yield owner
        owner = connection.scalar(statements.NEXT_OWNER, {"owner": owner})


def _by_ids(connection: Connection, ids: Sequence[int]) -> list[Transaction]:
    """Rows by their ids, in that order."""
    found: dict[int, Transaction] = {}
    for start in range(0, len(ids), IDS_MAX):
        some = {"ids": ids[start : start + IDS_MAX]}
        found |= {one.id: one for one in _transactions(connection, statements.BY_IDS, some)}
    return [found[id] for id in ids]


def _transactions(connection: Connection, statement: Executable, values: Mapping[str, object]) -> Iterator[Transaction]:
    for row in connection.execute(statement, values):
        yield Transaction(**dict(zip(Transaction.__struct_fields__, row, strict=True)))
