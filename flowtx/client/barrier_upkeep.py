"""The barrier's table: made once, and cleared of old rows from time to time.

The law of this file: a row may go only when no call of its transaction can arrive any more. Without its row a repeat
is taken for a first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from flowtx.client.barrier_backends import local_transaction
from flowtx.client.barrier_connection import LocalTransaction
from flowtx.client.barrier_dbapi import DbApiConnection
from flowtx.client.barrier_table import statements_of
from flowtx.client.errors import BarrierError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection  # needs greenlet, which only asyncio services have


def create_table(connection: Connection | Session | DbApiConnection, *, table: str | None = None) -> None:
    """Make the barrier's table where it is missing, in DTM's layout, and commit (spec 9.1).

    By default ``dtm_barrier.barrier`` on PostgreSQL (schema) and MySQL (database), which are made too, and
    ``dtm_barrier`` on SQLite. Raises ``BarrierError`` for a connection that cannot be used, and the database's errors.
    """
    local = local_transaction(connection)
    for statement in statements_of(local.dialect, table).create:
        _run(local, statement, {})


def purge(
    connection: Connection | Session | DbApiConnection,
    *,
    older_than_s: int,
    batch_max: int = 1000,
    table: str | None = None,
) -> int:
    """Delete the rows that were written more than ``older_than_s`` seconds ago; returns how many.

    Each ``batch_max`` rows are one local transaction, so that services at work wait little. ``older_than_s`` must be
    longer than any transaction may take, with all its retries and the time somebody needs to mend what hangs: days.
    Rows without a time, which DTM's Go client leaves in a table made by DTM's script for PostgreSQL, stay.
    Raises ``BarrierError`` for times and sizes that are not positive, and the database's errors.
    """
    for name, value in (("older_than_s", older_than_s), ("batch_max", batch_max)):
        if value <= 0:
            raise BarrierError(f"{name} is {value}, expected a positive whole number")
    local = local_transaction(connection)
    statement = statements_of(local.dialect, table).purge
    purged_count = 0
    while deleted := _run(local, statement, {"older_than_s": older_than_s, "batch_max": batch_max}):
        purged_count += deleted
        if deleted < batch_max:
            break
    return purged_count


async def create_table_async(connection: AsyncConnection, *, table: str | None = None) -> None:
    """As ``create_table``, on asyncio."""
    await connection.run_sync(create_table, table=table)


async def purge_async(
    connection: AsyncConnection, *, older_than_s: int, batch_max: int = 1000, table: str | None = None
) -> int:
    """As ``purge``, on asyncio."""
    return await connection.run_sync(purge, older_than_s=older_than_s, batch_max=batch_max, table=table)


def _run(local: LocalTransaction, statement: str, parameters: dict[str, str | int]) -> int:
    local.begin()
    try:
        changed = local.execute(statement, parameters)
        local.commit()
    except BaseException:
        local.rollback()
        raise
    return changed
