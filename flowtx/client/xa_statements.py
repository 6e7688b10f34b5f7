"""Every statement of xa's two phases, for PostgreSQL and MySQL/MariaDB (spec 9.6).

The law of this file: no database takes an xid as a bound parameter here, and a gid may hold any character. So the xid
stands in a statement by the numbers of its characters, which can hold no quote: nothing that comes with a request can
become SQL, whatever the session's settings are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from flowtx.client.barrier_table import DialectName
from flowtx.client.errors import XaError

MYSQL_BYTES_MAX = 64
POSTGRESQL_BYTES_MAX = 199

_PLAIN = re.compile(r"[A-Za-z0-9_-]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class XaStatements:
    """The statements of one branch. ``start`` is empty where a plain transaction will do; ``end`` comes before both
    ``prepare`` and ``undo``.
    """

    start: str
    end: str
    prepare: str
    undo: str
    commit: str
    rollback: str


def statements_of(dialect: DialectName, xid: str) -> XaStatements:
    """The statements for an xid; raises ``XaError`` for a database without xa, and for an xid it cannot hold."""
    size = len(xid.encode())
    match dialect:
        case "postgresql":
            _check_size(xid, size, POSTGRESQL_BYTES_MAX, "PostgreSQL")
            name = _postgresql_text(xid)
            return XaStatements(
                start="",
                end="",
                prepare=f"PREPARE TRANSACTION {name}",
                undo="ROLLBACK",
                commit=f"COMMIT PREPARED {name}",
                rollback=f"ROLLBACK PREPARED {name}",
            )
        case "mysql":
            _check_size(xid, size, MYSQL_BYTES_MAX, "MySQL")
            name = f"X'{xid.encode().hex()}'"
            return XaStatements(
                start=f"XA START {name}",
                end=f"XA END {name}",
                prepare=f"XA PREPARE {name}",
                undo=f"XA ROLLBACK {name}",
                commit=f"XA COMMIT {name}",
                rollback=f"XA ROLLBACK {name}",
            )
        case "sqlite":
            raise XaError(
                "SQLite has no prepared transactions, expected PostgreSQL, MySQL or MariaDB",
                remedy="Take part in a saga or a tcc, with the barrier.",
            )


def _check_size(xid: str, size: int, size_max: int, database: str) -> None:
    if size > size_max:
        raise XaError(
            f"the xid {xid!r} has {size} bytes, expected at most {size_max} on {database}",
            remedy="Give xa transactions shorter gids; new_gid() makes short ones.",
        )


def _postgresql_text(text: str) -> str:
    escaped = "".join(each if _PLAIN.fullmatch(each) else f"\\U{ord(each):08x}" for each in text)
    return f"E'{escaped}'"


UNKNOWN_XID = ("42704", 1397)
"""How PostgreSQL (SQLSTATE) and MySQL (error number) say that they know no such xid."""
TAKEN_XID = ("42710", 1440)
"""How they say that there is such an xid already."""
NOT_NOW = ("55000",)
"""How PostgreSQL says that it cannot: to a prepare, that they are switched off; to an end, that another is at it."""
NOT_ALLOWED = (1227, 1401)
"""How MySQL says that a user may not look at what is prepared."""


def says(error: BaseException, codes: tuple[str | int, ...]) -> bool:
    """True when a driver's error, or SQLAlchemy's around it, has one of these codes."""
    found: BaseException = getattr(error, "orig", None) or error
    return getattr(found, "sqlstate", None) in codes or (bool(found.args) and found.args[0] in codes)
