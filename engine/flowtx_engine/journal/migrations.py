"""Numbered changes of the schema, and what is checked before a database is used.

The law of this file: a migration that was released is never edited. A database without our tables gets ``schema.py``
whole and the newest number; an older one goes through the steps it has not seen, in order, all in one transaction with
the new number; a newer one is left alone. Alembic would bring a package, a directory of scripts and a second way to
describe a schema; a library that upgrades a file when it opens it needs a table of functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, delete, false, insert, inspect, select

from flowtx_engine.journal.errors import SchemaError
from flowtx_engine.journal.schema import (
    PREFIX,
    loaded,
    metadata,
    payloads,
    pieces,
    places,
    schedules,
    schema_version,
    transactions,
)

Migration = Callable[[Connection], None]


def add_places_schedules_and_loaded(connection: Connection) -> None:
    """Version 2: limits, schedules, and what each node has loaded; tables of their own, so nothing old changes."""
    metadata.create_all(connection, tables=[places, schedules, loaded])


def add_needs_decision(connection: Connection) -> None:
    """Which transactions wait for a person to say what became of a step that may be made once only."""
    column = transactions.c.needs_decision
    kind, no = column.type.compile(connection.dialect), false().compile(connection)
    connection.exec_driver_sql(f"ALTER TABLE {transactions.name} ADD COLUMN {column.name} {kind} DEFAULT {no} NOT NULL")
    (index,) = (found for found in transactions.indexes if found.name == f"{PREFIX}transactions_undecided")
    index.create(connection)


def add_retention(connection: Connection) -> None:
    """Who began a child, and what ended first, for deleting; children from before count as begun from outside."""
    column = transactions.c.begun_by
    kind = column.type.compile(connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {transactions.name} ADD COLUMN {column.name} {kind} DEFAULT '' NOT NULL")
    (index,) = (found for found in transactions.indexes if found.name == f"{PREFIX}transactions_finished")
    index.create(connection)


def add_pieces(connection: Connection) -> None:
    """Large payloads in pieces; and no more signals_seen, which nothing ever used: a signal's key is in the journal."""
    metadata.create_all(connection, tables=[payloads, pieces])
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {PREFIX}signals_seen")


MIGRATIONS: Sequence[Migration] = (add_places_schedules_and_loaded, add_needs_decision, add_retention, add_pieces)
"""``MIGRATIONS[0]`` leads from version 1 to version 2, and so on.

A step that creates tables whole takes them from ``schema.py`` only until a release has had it; then it keeps its own.
"""


def newest_version(migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """The version of ``schema.py``."""
    return 1 + len(migrations)


def version_of(connection: Connection, name: str) -> int | None:
    """The version a database has, None when flowtx has no table in it.

    ``name`` is what messages call the database. Raises ``SchemaError`` when tables of our names are not ours.
    """
    found = inspect(connection)
    ours = set(metadata.tables) & set(found.get_table_names())
    if not ours:
        return None
    if schema_version.name not in ours:
        raise _foreign(name, min(ours))
    if [column["name"] for column in found.get_columns(schema_version.name)] != schema_version.columns.keys():
        raise _foreign(name, schema_version.name)
    versions: list[int] = list(connection.scalars(select(schema_version.c.version)))
    if len(versions) != 1:
        raise _foreign(name, schema_version.name)
    return versions[0]


def check_version(connection: Connection, name: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Raise ``SchemaError`` unless the database has exactly the schema that this flowtx knows."""
    found, known = version_of(connection, name), newest_version(migrations)
    if found is None:
        raise SchemaError(f"{name} has no flowtx tables")
    if found != known:
        raise _differs(name, found, known)


def upgrade(connection: Connection, name: str, migrations: Sequence[Migration] = MIGRATIONS) -> tuple[int | None, int]:
    """Bring a database to the newest version; returns the versions before and after.

    Must run in a transaction that keeps other writers out from its beginning, so that of two processes which open one
    database the second finds the work done. Raises ``SchemaError`` for a schema that is newer, or not ours.
    """
    found, known = version_of(connection, name), newest_version(migrations)
    if found is None:
        metadata.create_all(connection)
    elif found > known:
        raise _differs(name, found, known)
    else:
        for migrate in migrations[found - 1 :]:
            migrate(connection)
    if found != known:
        connection.execute(delete(schema_version))
        connection.execute(insert(schema_version).values(version=known))
    return found, known


def _differs(name: str, found: int, known: int) -> SchemaError:
    if found > known:
        return SchemaError(
            f"{name} has schema version {found}; this flowtx knows versions up to {known}",
            remedy="Use the flowtx that upgraded this database, or a newer one. There is no way back.",
        )
    return SchemaError(f"{name} has schema version {found}; this flowtx needs version {known}")


def _foreign(name: str, table: str) -> SchemaError:
    return SchemaError(
        f"{name} has a table {table} that flowtx did not make",
        remedy=f"Use another database, or give that table another name: those that begin with {PREFIX} are flowtx's.",
    )
