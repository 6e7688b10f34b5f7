"""A participant's branch of an xa transaction: prepared in its database, then committed or rolled back (spec 9.6).

The law of this file, for one branch, however often and in whatever order its calls arrive:

* Phase one writes the barrier's row, runs business, lets the server know of the branch, and prepares, in this order: a
  branch that the server does not know cannot be left prepared for ever.
* Phase two ends what is prepared. A database that does not know the xid has ended it before, or never had it; both are
  success. But MariaDB does not know a prepared xid either while the session that prepared it lives on: what is still
  listed as prepared is asked for again.
* A rollback also writes the row that phase one would write, so that a phase one that comes late prepares nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Self, TypeVar

from sqlalchemy import Connection

from flowtx.client.barrier import Barrier, Ran, Skipped, Why
from flowtx.client.barrier_dbapi import DbApiConnection
from flowtx.client.barrier_table import statements_of as barrier_statements
from flowtx.client.errors import XaError
from flowtx.client.xa_connection import XaConnection, xa_connection
from flowtx.client.xa_statements import (
    NOT_ALLOWED,
    NOT_NOW,
    TAKEN_XID,
    UNKNOWN_XID,
    XaStatements,
    says,
    statements_of,
)
from flowtx_dsl.errors import Ongoing, Refused

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection  # needs greenlet, which only asyncio services have

if TYPE_CHECKING:  # only what they are called with; the async one needs httpx2
    from flowtx.client.async_client import AsyncDtmClient
    from flowtx.client.sync_client import DtmClient

ConnectionT = TypeVar("ConnectionT", bound=Connection | DbApiConnection)
T = TypeVar("T")

OPS = ("action", "commit", "rollback")


class XaBranch:
    """One call about one branch: op ``action`` is phase one, ``commit`` and ``rollback`` are phase two.

    ``table`` is the barrier's, for deployments that do not use DTM's name for it.
    """

    def __init__(self, *, gid: str, branch_id: str, op: str, phase2_url: str = "", table: str | None = None) -> None:
        """Raises ``BarrierError`` for an empty or overlong field, ``XaError`` for an op that xa has not."""
        self.barrier = Barrier(gid=gid, branch_id=branch_id, op=op, trans_type="xa", table=table)
        if op not in OPS:
            raise XaError(f"op is {op!r}, expected one of {', '.join(OPS)}")
        if op == "action" and not phase2_url:
            raise XaError(
                f"branch {branch_id} of xa {gid} has no phase2_url, where it is told to commit or roll back",
                remedy="Pass the query of the URL that this participant was called with.",
            )
        self.phase2_url = phase2_url
        self.xid = f"{gid}-{branch_id}"

    @classmethod
    def from_query(cls, query: Mapping[str, str], *, table: str | None = None) -> Self:
        """The branch of a participant's request, from the query of its URL (over gRPC: from its metadata).

        Raises as the class itself, and ``XaError`` for a request of another kind of transaction.
        """
        barrier = Barrier.from_query(query, table=table)
        if barrier.trans_type != "xa":
            raise XaError(f"trans_type is {barrier.trans_type!r}, expected 'xa'")
        return cls(
            gid=barrier.gid,
            branch_id=barrier.branch_id,
            op=barrier.op,
            phase2_url=query.get("phase2_url", ""),
            table=table,
        )

    def __repr__(self) -> str:
        return f"<XaBranch {self.xid} {self.barrier.op}>"

    def call(
        self, connection: ConnectionT, business: Callable[[ConnectionT], T], *, dtm: DtmClient
    ) -> Ran[T] | Skipped:
        """Do what this call asks for. In phase one ``business(connection)`` runs, unless it must not any more.

        ``connection`` is SQLAlchemy's ``Connection`` or one of psycopg or PyMySQL, with no transaction open; on MySQL
        and MariaDB it is closed after phase one. ``business`` neither commits nor rolls back. Everything but an
        exception is a success, to be answered with 200.

        Raises ``Refused`` for what was rolled back before it came, ``Ongoing`` where it must be asked again,
        ``XaError`` and ``BarrierError`` for a connection that cannot be used, ``ClientError`` where the server does not
        take the branch, and whatever ``business`` and the database raise; nothing is prepared then.
        """
        if self.barrier.op != "action":
            return self.finish(connection)
        return self.prepare(connection, business, lambda _: dtm.register_xa(self._fields, self.phase2_url))

    def prepare(
        self, connection: ConnectionT, business: Callable[[ConnectionT], T], register: Callable[[T], object]
    ) -> Ran[T] | Skipped:
        """Phase one, for who ends the branch himself: ``register(value)`` makes sure that it will be ended.

        It is called before anything is prepared, with what business returned. Else as ``call``.
        """
        local = xa_connection(connection)
        statements = statements_of(local.dialect, self.xid)
        if not self._start(local, statements):
            return Skipped(Why.REPEATED_OR_LATE)
        try:
            if not self._enter(local):
                self._undo(local, statements)
                return Skipped(Why.REPEATED_OR_LATE)
            value = business(connection)
            register(value)
            self._prepare(local, statements)
        except BaseException as error:
            self._undo(local, statements, error)
            raise
        self._leave(local)
        return Ran(value)

    async def call_async(
        self, connection: AsyncConnection, business: Callable[[AsyncConnection], Awaitable[T]], *, dtm: AsyncDtmClient
    ) -> Ran[T] | Skipped:
        """As ``call``, on asyncio, for SQLAlchemy's ``AsyncConnection``. On trio, run ``call`` in a worker thread."""
        if self.barrier.op != "action":
            return await self.finish_async(connection)
        return await self.prepare_async(connection, business, lambda _: dtm.register_xa(self._fields, self.phase2_url))

    async def prepare_async(
        self,
        connection: AsyncConnection,
        business: Callable[[AsyncConnection], Awaitable[T]],
        register: Callable[[T], Awaitable[object]],
    ) -> Ran[T] | Skipped:
        """As ``prepare``; see ``call_async``."""
        local = await connection.run_sync(xa_connection)
        statements = statements_of(local.dialect, self.xid)
        if not await connection.run_sync(lambda _: self._start(local, statements)):
            return Skipped(Why.REPEATED_OR_LATE)
        try:
            if not await connection.run_sync(lambda _: self._enter(local)):
                await connection.run_sync(lambda _: self._undo(local, statements))
                return Skipped(Why.REPEATED_OR_LATE)
            value = await business(connection)
            await register(value)
            await connection.run_sync(lambda _: self._prepare(local, statements))
        except BaseException as error:
            await connection.run_sync(_undo_there, self, local, statements, error)
            raise
        await connection.run_sync(lambda _: self._leave(local))
        return Ran(value)

    def finish(self, connection: Connection | DbApiConnection) -> Skipped:
        """Phase two: commit or roll back, as the op says. Raises as ``call``."""
        local = xa_connection(connection)
        self._finish(local, statements_of(local.dialect, self.xid))
        return Skipped(Why.SECOND_PHASE)

    async def finish_async(self, connection: AsyncConnection) -> Skipped:
        """As ``finish``; see ``call_async``."""
        return await connection.run_sync(self.finish)

    @property
    def _fields(self) -> dict[str, str]:
        return {"gid": self.barrier.gid, "branch_id": self.barrier.branch_id}

    def _start(self, local: XaConnection, statements: XaStatements) -> bool:
        """Open the transaction; False when one of this xid is prepared already."""
        local.start()
        try:
            if not statements.start:
                # Before the row is written: on PostgreSQL that would wait for the prepared one to end.
                if not self._is_listed(local):
                    return True
                local.rollback()
                return False
            local.execute(statements.start, {})
            return True
        except BaseException as error:
            is_listed = says(error, TAKEN_XID) and self._is_listed(local)
            local.rollback()
            if is_listed:
                return False
            if says(error, TAKEN_XID):
                raise Ongoing(f"xa branch {self.xid} is being prepared by another call") from error
            raise

    def _enter(self, local: XaConnection) -> bool:
        """Write the barrier's row; False when this branch was committed before."""
        insert, row = barrier_statements(local.dialect, self.barrier.table), self._row
        if local.execute(insert.insert, {**row, "trans_type": "xa", "reason": "action"}) > 0:
            return True
        if local.fetch_text(insert.reason, row) == "rollback":
            raise Refused(f"xa branch {self.xid} was rolled back before it came")
        return False

    @property
    def _row(self) -> dict[str, str]:
        return {
            "gid": self.barrier.gid,
            "branch_id": self.barrier.branch_id,
            "op": "action",
            "barrier_id": "01",
        }

    def _prepare(self, local: XaConnection, statements: XaStatements) -> None:
        local.check_still_open()
        try:
            if statements.end:
                local.execute(statements.end, {})
            local.execute(statements.prepare, {})
        except Exception as error:
            if says(error, NOT_NOW):
                raise XaError(
                    f"PostgreSQL cannot prepare {self.xid}: {error}",
                    remedy="Set max_prepared_transactions in postgresql.conf to at least max_connections.",
                ) from error
            raise

    def _leave(self, local: XaConnection) -> None:
        if local.dialect == "mysql":
            local.discard()
        else:
            local.commit()  # nothing is open any more; this tells the library so

    def _undo(self, local: XaConnection, statements: XaStatements, error: BaseException | None = None) -> None:
        if local.dialect != "mysql":
            local.rollback()
            return
        try:
            local.execute(statements.end, {})
            local.execute(statements.undo, {})
        except Exception as also:  # the session's end, below, rolls back too
            if error is not None and not says(also, UNKNOWN_XID):
                error.add_note(f"rolling back {self.xid} failed: {also}")
        finally:
            local.discard()

    def _finish(self, local: XaConnection, statements: XaStatements) -> None:
        """Phase two."""
        try:
            local.outside(statements.commit if self.barrier.op == "commit" else statements.rollback)
        except Exception as error:
            if says(error, NOT_NOW):
                raise Ongoing(f"xa branch {self.xid} is being ended by another call") from error
            if not says(error, UNKNOWN_XID):
                raise
            if local.dialect == "mysql" and self._is_listed(local):
                raise Ongoing(f"xa branch {self.xid} is prepared, and its session has not ended yet") from error
        if self.barrier.op == "rollback":
            self._keep_out(local)

    def _keep_out(self, local: XaConnection) -> None:
        local.begin()
        try:
            insert = barrier_statements(local.dialect, self.barrier.table).insert
            local.execute(insert, {**self._row, "trans_type": "xa", "reason": "rollback"})
            local.commit()
        except BaseException:
            local.rollback()
            raise

    def _is_listed(self, local: XaConnection) -> bool:
        """True when the database lists this xid as prepared."""
        if local.dialect == "postgresql":
            found = "select gid from pg_prepared_xacts where gid = :xid and database = current_database()"
            return local.fetch_text(found, {"xid": self.xid}) is not None
        try:
            rows = local.fetch_all("XA RECOVER")
        except Exception as error:
            # MySQL 8 shows it to privileged users only; but it frees what is prepared from its session at once.
            if says(error, NOT_ALLOWED):
                return False
            raise
        return any(_text(row[3]) == self.xid for row in rows)


def _undo_there(
    _: object, branch: XaBranch, local: XaConnection, statements: XaStatements, error: BaseException
) -> None:
    branch._undo(local, statements, error)  # pyright: ignore[reportPrivateUsage]  # a function, because run_sync takes one


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value)
