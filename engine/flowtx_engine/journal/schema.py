"""The tables of a journal in SQL, as SQLAlchemy Core knows them.

The law of this file: every type holds a real payload on every database, so no text or blob is shorter than what MySQL
calls LONG, and gids compare byte by byte. Whoever changes a table here also writes its migration.

A journal row is kept under its transaction's id, not its gid: the fence is (transaction_id, seq), and a gid has one id.
Random gids as the key of the journal would spread every commit over the whole index; ids put the rows of what runs
now beside each other. Measured on SQLite, random gids, 100,000 transactions: 60,000 writes/s instead of 25,000, and
flat from there to a million.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.dialects import mysql, sqlite

from flowtx_engine.journal.checks import GID_CHARS_MAX

PREFIX = "flowtx_"
"""The tables may live in a database that is somebody's own, and "transactions" is a name a bank has use for."""

NAME_CHARS_MAX = 255
"""Names of workflows, patterns, nodes and the like; MySQL cannot index a text without a length."""


def _exact(length: int) -> String:
    """A text that compares byte by byte, trailing blanks included; MySQL's and MariaDB's defaults do not."""
    return (
        String(length)
        .with_variant(mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_0900_bin"), "mysql")
        .with_variant(mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_nopad_bin"), "mariadb")
    )


# SQLite counts up by itself only in a column that is spelled INTEGER.
_id = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
_gid = _exact(GID_CHARS_MAX)
_name = _exact(NAME_CHARS_MAX)
_text = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
_blob = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")

metadata = MetaData()

# The payloads stand last: SQLite reads a row from the left, and stops where it has what it needs.
transactions = Table(
    f"{PREFIX}transactions",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("gid", _gid, nullable=False),
    Column("pattern", _name, nullable=False),
    Column("workflow", _name, nullable=False),
    Column("version", _name, nullable=False),
    Column("status", _exact(16), nullable=False),
    Column("owner", _name, nullable=False),
    Column("wake_at", Double),
    Column("attempt_count", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("finished_at", Double),
    Column("nudged_at", Double),
    Column("needs_decision", Boolean, nullable=False, server_default=false()),
    Column("begun_by", _gid, nullable=False, server_default=""),
    Column("last_error", _text, nullable=False),
    Column("reason", _text, nullable=False),
    Column("options", _blob, nullable=False),
    Column("input", _blob, nullable=False),
    Column("result", _blob),
    UniqueConstraint("gid", name=f"{PREFIX}transactions_gid"),
)

journal = Table(
    f"{PREFIX}journal",
    metadata,
    Column("transaction_id", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("kind", _name, nullable=False),
    Column("address", _text, nullable=False),
    Column("at", Double, nullable=False),
    Column("data", _blob, nullable=False),
)

nodes = Table(
    f"{PREFIX}nodes",
    metadata,
    Column("node", _name, primary_key=True),
    Column("alive_until_at", Double, nullable=False),
)

# Topics live here too, under the category "topics" (spec 6.2).
kv = Table(
    f"{PREFIX}kv",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("category", _name, nullable=False),
    Column("key", _name, nullable=False),
    Column("value", _text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    UniqueConstraint("category", "key", name=f"{PREFIX}kv_category_key"),
)

# Payloads that are kept in pieces: whose they are, and whether they count. Under the gid, because the first of a
# transaction comes before its row.
payloads = Table(
    f"{PREFIX}payloads",
    metadata,
    Column("id", _exact(32), primary_key=True),
    Column("gid", _gid, nullable=False),
    Column("field", _exact(16), nullable=False),
    Column("seq", Integer),
    Column("state", _exact(8), nullable=False),
    Column("node", _name, nullable=False),
    Column("at", Double, nullable=False),
)

pieces = Table(
    f"{PREFIX}pieces",
    metadata,
    Column("payload_id", _exact(32), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("data", _blob, nullable=False),
)

# The limits' places: one a run of a workflow with a limit, while something counts it.
places = Table(
    f"{PREFIX}places",
    metadata,
    Column("transaction_id", _id, primary_key=True, autoincrement=False),
    Column("workflow", _name, nullable=False),
    Column("key", _name, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("admitted_at", Double),
)

schedules = Table(
    f"{PREFIX}schedules",
    metadata,
    Column("name", _gid, primary_key=True),
    Column("workflow", _name, nullable=False),
    Column("version", _name, nullable=False),
    Column("cron", _text, nullable=False),
    Column("timezone", _name, nullable=False),
    Column("catch_up", _exact(16), nullable=False),
    Column("overlap", _exact(16), nullable=False),
    Column("next_at", Double),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("last_at", Double),
    Column("last_gid", _gid, nullable=False),
    Column("skipped_count", BigInteger, nullable=False),
    Column("input", _blob, nullable=False),
)

# Which code each node has loaded.
loaded = Table(
    f"{PREFIX}loaded",
    metadata,
    Column("node", _name, primary_key=True),
    Column("workflow", _name, primary_key=True),
    Column("version", _name, primary_key=True),
)

schema_version = Table(f"{PREFIX}schema_version", metadata, Column("version", Integer, nullable=False))

# Claiming, and what a node owns. Finished rows stand at ('', ..., NULL), outside every range that is asked for. The
# workflow comes before the time, because a node asks for those it has loaded and must not wade through a backlog of
# others.
Index(
    f"{PREFIX}transactions_due",
    transactions.c.owner,
    transactions.c.workflow,
    transactions.c.version,
    transactions.c.wake_at,
)
# Hardly ever written: most transactions are never nudged.
Index(
    f"{PREFIX}transactions_nudged",
    transactions.c.owner,
    transactions.c.nudged_at,
    sqlite_where=transactions.c.nudged_at.is_not(None),
    postgresql_where=transactions.c.nudged_at.is_not(None),
)
# What waits for people: a handful at most.
Index(
    f"{PREFIX}transactions_undecided",
    transactions.c.id,
    sqlite_where=transactions.c.needs_decision,
    postgresql_where=transactions.c.needs_decision,
)
# What is to be deleted: what ended first. It grows at its right end only.
Index(
    f"{PREFIX}transactions_finished",
    transactions.c.finished_at,
    sqlite_where=transactions.c.finished_at.is_not(None),
    postgresql_where=transactions.c.finished_at.is_not(None),
)
# Listing: few of one status among a million of another, newest first (the id is each index's last column).
Index(f"{PREFIX}transactions_status", transactions.c.status, transactions.c.id)
Index(f"{PREFIX}transactions_created", transactions.c.created_at)
# Who waits under a key, first come first, and who is counted. Two, because those who are counted are looked for by key.
Index(f"{PREFIX}places_waiting", places.c.workflow, places.c.admitted_at, places.c.key, places.c.due_at)
Index(f"{PREFIX}places_of_key", places.c.workflow, places.c.key, places.c.admitted_at)
# What is to be swept, and what goes with its transaction.
Index(f"{PREFIX}payloads_state", payloads.c.state)
Index(f"{PREFIX}payloads_gid", payloads.c.gid)
Index(f"{PREFIX}schedules_due", schedules.c.next_at)
