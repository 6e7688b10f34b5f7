"""Which backend serves which connection.

The law of this file: the connection's own type decides, so nobody has to say what they pass.
"""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from flowtx.client.barrier_connection import LocalTransaction
from flowtx.client.barrier_dbapi import DbApiConnection, DbApiTransaction
from flowtx.client.barrier_sqlalchemy import SqlAlchemyTransaction


def local_transaction(connection: Connection | Session | DbApiConnection) -> LocalTransaction:
    """A transaction, not begun yet; raises ``BarrierError`` naming what it was given, if nothing here serves that."""
    if isinstance(connection, Connection | Session):
        return SqlAlchemyTransaction(connection)
    return DbApiTransaction(connection)
