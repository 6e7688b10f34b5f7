"""The barrier: a participant's guard against repeats, empty compensation and late action (spec 9.2, 9.3).

The law of this file, for one op of one branch, however often and in whatever order its calls arrive:

* Business runs inside the barrier's own local transaction, together with the rows that say so: both are committed, or
  neither. An error of any kind rolls back and goes on to the caller; the next attempt finds nothing.
* An op runs once. A repeat is skipped, with success; only a message (op ``msg``) is told that it is a duplicate.
* What takes back (cancel, compensate, rollback) first writes the row of what it takes back (try, action). If that row
  was missing, there is nothing to take back: business is skipped, and the row now keeps the late forward op out.

Why a callback, and not ``with barrier.once(connection) as proceed: if proceed: ...``: whoever forgets that ``if`` has
a program that passes its tests and pays twice in production. A function that is not called cannot be forgotten. (DTM's
Go client does the same; so does Seata's fence, which keeps one row with a status where DTM adds rows. Rows that are
only ever added need no read before the write, so no lock order to get wrong.)
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from flowtx.client.barrier_backends import local_transaction
from flowtx.client.barrier_connection import LocalTransaction, Parameters
from flowtx.client.barrier_dbapi import DbApiConnection
from flowtx.client.barrier_table import Statements, statements_of
from flowtx.client.errors import BarrierError, Duplicated
from flowtx_dsl.errors import Refused

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession  # needs greenlet, which only asyncio services have

SyncConnectionT = TypeVar("SyncConnectionT", bound=Connection | Session | DbApiConnection)
AsyncConnectionT = TypeVar("AsyncConnectionT", bound="AsyncConnection | AsyncSession")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

FORWARD_OPS: Mapping[str, str] = {"cancel": "try", "compensate": "action", "rollback": "action"}
"""What each op takes back (spec 9.2); every other op takes nothing back."""

LENGTHS_MAX: Mapping[str, int] = {"gid": 128, "branch_id": 128, "op": 45, "trans_type": 45}
"""How many characters the table's columns hold. MySQL would cut longer ones, and take two gids for one."""

_DELETED = str.maketrans("", "", "\n\r;")  # as DTM's clients and server do over HTTP, so that all see the same gid


class Why(enum.Enum):
    """Why a call was skipped."""

    REPEATED_OR_LATE = "repeated or late"
    NOTHING_TO_TAKE_BACK = "nothing to take back"
    SECOND_PHASE = "second phase"  # of xa: what was prepared was committed, or rolled back


@dataclass(frozen=True, slots=True)
class Ran(Generic[T_co]):
    """The business function ran and is committed; true in an ``if``."""

    value: T_co

    def __bool__(self) -> Literal[True]:
        return True


@dataclass(frozen=True, slots=True)
class Skipped:
    """The business function was rightly not run; answer with success all the same. False in an ``if``."""

    why: Why

    def __bool__(self) -> Literal[False]:
        return False


class Barrier:
    """The barrier of one call of a participant: one op of one branch.

    Make one for each request, and call it once for each local transaction of that request, always in the same order:
    the calls are numbered. ``table`` is for deployments that do not use DTM's name for it.
    """

    __slots__ = ("_count", "branch_id", "gid", "op", "table", "trans_type")

    def __init__(self, *, gid: str, branch_id: str, op: str, trans_type: str, table: str | None = None) -> None:
        """Raises ``BarrierError`` for an empty or overlong field, naming it."""
        self.gid, self.branch_id, self.op, self.trans_type = gid, branch_id, op, trans_type
        self.table = table
        self._count = 0
        for name, length_max in LENGTHS_MAX.items():
            _check(name, getattr(self, name), length_max)

    @classmethod
    def from_query(cls, query: Mapping[str, str], *, table: str | None = None) -> Self:
        """The barrier of a participant's request, from the query of its URL (over gRPC: from its metadata).

        ``query`` maps names to texts: Flask's and Quart's ``request.args``, Starlette's ``request.query_params``.
        Raises ``BarrierError`` when gid, branch_id, op or trans_type is missing, empty or overlong.
        """
        fields = {name: _text(query, name) for name in LENGTHS_MAX}
        return cls(**fields, table=table)

    def __repr__(self) -> str:
        return f"<Barrier {self.gid} {self.branch_id} {self.op} of {self.trans_type}, {self._count} calls>"

    def call(self, connection: SyncConnectionT, business: Callable[[SyncConnectionT], T]) -> Ran[T] | Skipped:
        """Run ``business(connection)`` and commit, unless this op must not run any more (spec 9.2).

        ``connection`` is SQLAlchemy's ``Connection`` or ``Session``, or one of sqlite3, psycopg or PyMySQL, with no
        transaction open; afterwards none is open either. ``business`` neither commits nor rolls back.

        Raises ``Duplicated`` for a message done or given up before, ``BarrierError`` for a connection that cannot be
        used, and whatever ``business`` and the database raise, rolled back.
        """
        local = _begun(connection)
        try:
            why = self._enter(local)
            if why is None:
                value = business(connection)
                _refuse_awaitable(value)
                _leave(local)
                return Ran(value)
            _leave(local)
            return Skipped(why)
        except BaseException as error:
            _roll_back(local, error)
            raise

    async def call_async(
        self, connection: AsyncConnectionT, business: Callable[[AsyncConnectionT], Awaitable[T]]
    ) -> Ran[T] | Skipped:
        """As ``call``, on asyncio, for SQLAlchemy's ``AsyncConnection`` and ``AsyncSession``.

        On trio, run ``call`` in a worker thread: ``await trio.to_thread.run_sync(barrier.call, connection, business)``.
        """
        local = await connection.run_sync(_begun)
        try:
            why = await connection.run_sync(lambda _: self._enter(local))
            if why is None:
                value = await business(connection)
                await connection.run_sync(lambda _: _leave(local))
                return Ran(value)
            await connection.run_sync(lambda _: _leave(local))
            return Skipped(why)
        except BaseException as error:
            await connection.run_sync(_roll_back_there, local, error)
            raise

    def query_prepared(self, connection: Connection | Session | DbApiConnection) -> None:
        """Answer a message's query-prepared: return when its local transaction is committed (spec 9.3).

        Otherwise raises ``Refused``, and from now on that local transaction cannot commit any more.
        """
        if self._is_given_up(_begun(connection)):
            raise self.given_up()

    async def query_prepared_async(self, connection: AsyncConnection | AsyncSession) -> None:
        """As ``query_prepared``, on asyncio."""
        if await connection.run_sync(lambda sync: self._is_given_up(_begun(sync))):
            raise self.given_up()

    def next_number(self) -> str:
        """The number of the next local transaction of this request; for barriers on stores that have no SQL."""
        self._count += 1
        return f"{self._count:02d}"

    def given_up(self) -> Refused:
        """The answer to a query-prepared whose local transaction was not committed."""
        return Refused(f"message {self.gid} was not committed here, and now cannot be any more")

    def duplicated(self) -> Duplicated:
        """The error of a message's local transaction that was done or given up before."""
        return Duplicated(f"message {self.gid} was done or given up before; its business function was not run")

    def _enter(self, local: LocalTransaction) -> Why | None:
        """Write the rows; says why business must not run, if so. Steps 1 to 7 of spec 9.2."""
        number = self.next_number()
        statements = statements_of(local.dialect, self.table)
        forward = FORWARD_OPS.get(self.op)
        took_its_place = forward is not None and self._insert(local, statements, op=forward, number=number)
        is_first = self._insert(local, statements, op=self.op, number=number)
        if self.op == "msg" and not is_first:
            raise self.duplicated()
        if took_its_place:
            return Why.NOTHING_TO_TAKE_BACK
        return None if is_first else Why.REPEATED_OR_LATE

    def _insert(self, local: LocalTransaction, statements: Statements, *, op: str, number: str) -> bool:
        row = self._row(branch_id=self.branch_id, op=op, number=number)
        return local.execute(statements.insert, {**row, "trans_type": self.trans_type, "reason": self.op}) > 0

    def _row(self, *, branch_id: str, op: str, number: str) -> Parameters:
        return {"gid": self.gid, "branch_id": branch_id, "op": op, "barrier_id": number}

    def _is_given_up(self, local: LocalTransaction) -> bool:
        # The message's own row has always this place, wherever the question comes from (spec 9.3).
        row = self._row(branch_id="00", op="msg", number="01")
        try:
            statements = statements_of(local.dialect, self.table)
            local.execute(statements.insert, {**row, "trans_type": self.trans_type, "reason": "rollback"})
            reason = local.fetch_text(statements.reason, row)
            local.commit()
        except BaseException as error:
            _roll_back(local, error)
            raise
        return reason == "rollback"


def _text(query: Mapping[str, str], name: str) -> str:
    found = cast("object", query.get(name, ""))
    if not isinstance(found, str):
        raise BarrierError(
            f"{name} in the query is a {type(found).__name__}, expected a text",
            remedy="Pass a mapping of names to texts, as dict(urllib.parse.parse_qsl(query)) gives.",
        )
    return found.translate(_DELETED)


def _check(name: str, value: str, length_max: int) -> None:
    if not value:
        raise BarrierError(
            f"{name} is missing or empty, expected all of {', '.join(LENGTHS_MAX)}",
            remedy="Pass the query of the URL that the transaction manager called; it adds these four itself.",
        )
    if len(value) > length_max:
        raise BarrierError(f"{name} has {len(value)} characters, expected at most {length_max}: {value[:40]!r}...")


def _begun(connection: Connection | Session | DbApiConnection) -> LocalTransaction:
    # Before the try of every caller: a connection that is refused keeps what its owner has open on it.
    local = local_transaction(connection)
    local.begin()
    return local


def _leave(local: LocalTransaction) -> None:
    local.check_still_open()
    local.commit()


def _roll_back(local: LocalTransaction, error: BaseException) -> None:
    try:
        local.rollback()
    except Exception as also:  # a lost connection rolls back by itself; the first error tells more
        error.add_note(f"rolling back failed too: {also!r}")


def _roll_back_there(_: object, local: LocalTransaction, error: BaseException) -> None:
    _roll_back(local, error)


def _refuse_awaitable(value: object) -> None:
    if not inspect.isawaitable(value):
        return
    close: Any = getattr(value, "close", None)
    if close is not None:
        close()  # or Python warns of a coroutine that was never awaited, after this error said why
    raise BarrierError(
        "the business function is async, expected a plain one: nothing of it ran",
        remedy="Use `await barrier.call_async(connection, business)`.",
    )
