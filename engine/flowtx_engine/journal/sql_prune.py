"""Deleting what has ended, in SQL.

The law of this file: it is the one place where transactions are deleted, and with a transaction goes every row of every
table that belongs to it, in one database transaction. What has ended stays ended, so what was chosen by a reader may
still be deleted later; only its id may be another's by then, which is why the instant is asked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, Double, Integer, bindparam, delete, exists, or_, select

from flowtx_engine.journal.records import FINAL
from flowtx_engine.journal.schema import journal, places, transactions
from flowtx_engine.journal.sql_pieces import LET_GO_OF_TRANSACTIONS

IDS_MAX = 500
"""How many ids one statement names."""

_is_over = (
    transactions.c.status.in_(sorted(FINAL)),
    transactions.c.finished_at < bindparam("before_at", type_=Double),
)

# The replay of a parent may come to where it began a child, unless its journal began anew after the child's end.
_parents = transactions.alias("parents")
_journal_began_at = (
    select(journal.c.at)
    .where(journal.c.transaction_id == _parents.c.id)
    .order_by(journal.c.seq)
    .limit(1)
    .scalar_subquery()
)
_may_be_asked_for = exists().where(
    _parents.c.gid == transactions.c.begun_by,
    _parents.c.status.not_in(sorted(FINAL)),
    _journal_began_at <= transactions.c.finished_at,
)

# What may go, what ended first before the others: a range of the index.
_ENDED = (
    select(transactions.c.id)
    .where(*_is_over, or_(transactions.c.begun_by == "", ~_may_be_asked_for))
    .order_by(transactions.c.finished_at, transactions.c.id)
    .limit(bindparam("limit", type_=Integer))
)

# Which of them are still what they were.
_STILL_OVER = select(transactions.c.id).where(transactions.c.id.in_(bindparam("ids", expanding=True)), *_is_over)

# Whatever belongs to a transaction, and the transaction last.
_DELETE = (
    LET_GO_OF_TRANSACTIONS,  # large payloads go in pieces, a few at a time
    *(
        delete(column.table).where(column.in_(bindparam("ids", expanding=True)))
        for column in (journal.c.transaction_id, places.c.transaction_id, transactions.c.id)
    ),
)


def ended(connection: Connection, before_at: float, limit: int) -> list[int]:
    """The ids of what ``Store.prune`` may delete, in its order."""
    return list(connection.scalars(_ENDED, {"before_at": before_at, "limit": limit}))


def delete_ended(connection: Connection, ids: Sequence[int], before_at: float) -> int:
    """Delete those of these that ended before an instant; how many they were."""
    deleted = 0
    for some in _parts(ids):
        still = list(connection.scalars(_STILL_OVER, {"ids": some, "before_at": before_at}))
        for statement in _DELETE if still else ():
            connection.execute(statement, {"ids": still})
        deleted += len(still)
    return deleted


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + IDS_MAX] for start in range(0, len(ids), IDS_MAX))
