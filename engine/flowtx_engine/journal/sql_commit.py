"""Putting a batch of writes into the database.

The law of this file: a batch is one database transaction of at most three statements, unless it has to do with large
payloads, which cost more anyway (``sql_pieces.py``), and costs one fsync. It is tried
as a whole. When something in it does not fit, all of it is taken back and put in by halves, quarters and so on, each
under a savepoint, until what does not fit stands alone and is told why. The rest goes in, in order, still with one
fsync; one misfit among 64 costs some forty statements, where going write by write would cost two hundred.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from flowtx_engine.journal import sql_pieces
from flowtx_engine.journal import sql_statements as statements
from flowtx_engine.journal.checks import check_write, conflict_of, pieces_gone
from flowtx_engine.journal.errors import UnstorableWrite
from flowtx_engine.journal.records import Write
from flowtx_engine.journal.sql_batch import batch_of
from flowtx_engine.journal.sql_errors import is_taken, is_unstorable
from flowtx_engine.journal.store import WriteResult


class _Misfit(Exception):
    """Something in a batch does not fit; nothing of it may stay. The cause, if any, is an unstorable value."""


def put(connection: Connection, writes: Sequence[Write]) -> list[WriteResult]:
    """Commit a batch on a connection that is in no transaction; one result a write, in order."""
    try:
        with connection.begin():
            _put_all(connection, writes)
    except _Misfit:
        with connection.begin():
            return _put_part(connection, writes)
    return [None] * len(writes)


def put_first(connection: Connection, write: Write) -> None:
    """Put in what begins a transaction whose gid is free, as part of a database transaction that is under way.

    Raises ``UnstorableWrite``; what was done before is then for the caller to take back.
    """
    try:
        _put_all(connection, [write])
    except _Misfit as misfit:
        raise _reason(connection, write, misfit.__cause__) from misfit


def _put_part(connection: Connection, writes: Sequence[Write]) -> list[WriteResult]:
    try:
        with connection.begin_nested():
            _put_all(connection, writes)
    except _Misfit as misfit:
        if len(writes) == 1:
            return [_reason(connection, writes[0], misfit.__cause__)]
        middle = len(writes) // 2
        return _put_part(connection, writes[:middle]) + _put_part(connection, writes[middle:])
    return [None] * len(writes)


def _put_all(connection: Connection, writes: Sequence[Write]) -> None:
    """Put a batch in as a whole; raises ``_Misfit`` for what a smaller batch may do better."""
    batch = batch_of(writes)
    if batch is None:
        raise _Misfit("a gid's writes do not follow each other")
    filled = itertools.chain(
        statements.insert_transactions(batch.transactions),
        statements.insert_places(batch.places),
        statements.insert_journal(batch.journal),
        statements.update_transactions(batch.changes),
    )
    try:
        for piece in batch.pieces:
            sql_pieces.put(connection, piece)
        for text, values, expected_count in filled:
            row_count = connection.exec_driver_sql(text, values).rowcount
            if row_count != expected_count:
                raise _Misfit(f"{row_count} rows where {expected_count} were expected")
        for of in batch.counted:
            if not sql_pieces.count(connection, of):
                raise _Misfit("pieces are not there")
        for gid, keeps_from in batch.fresh:
            connection.execute(statements.LET_GO, {"gid": gid, "keeps_from": keeps_from})
            sql_pieces.let_go_before(connection, gid, keeps_from)
    except (DBAPIError, UnicodeError, OverflowError) as error:
        if is_taken(error):
            raise _Misfit("a key is taken") from None
        if is_unstorable(error):
            raise _Misfit("a value cannot be stored") from error
        raise


def _reason(connection: Connection, write: Write, cause: BaseException | None) -> Exception:
    """Why a single write was kept out."""
    if cause is None:
        next_seq = connection.scalar(statements.NEXT_SEQ, {"gid": write.gid})
        if write.counted and write.rows[0].seq == (next_seq or 0):
            return pieces_gone(write)
        return conflict_of(write, next_seq)
    told = f"{write}, {check_write(write)} bytes of payload: {cause}"
    refused = UnstorableWrite(told)
    refused.__cause__ = cause
    return refused
