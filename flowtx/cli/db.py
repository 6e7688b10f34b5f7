"""``flowtx db``: the schema of a database, and what it holds.

The law of this file: ``show`` changes nothing, ``upgrade`` changes the schema and nothing else, and ``prune`` deletes
what has ended and nothing else.
``import-dtm`` has a file of its own.
"""

from __future__ import annotations

import time

import click
import msgspec
from rich.table import Table
from rich.text import Text

from flowtx.cli.import_dtm import import_dtm
from flowtx.cli.options import db_option, examples, json_option
from flowtx.cli.printing import print_json, print_pictures, styled_status
from flowtx.cli.times import seconds_of
from flowtx_engine.journal.sql import StoreDescription, Upgrade, open_sqlite, upgrade_store
from flowtx_engine.journal.store import Store
from flowtx_engine.runtime.sweeping import PIECES_MAX

PRUNE_MAX = 200
"""How many transactions are deleted at once: a server that runs on the database has to wait for no longer than that."""
NO_NODE = "flowtx db prune"
"""What no node is called: nothing that is being written is this command's own."""
STATUSES = ("prepared", "submitted", "aborting", "succeed", "failed")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A database, for programs; ``counts`` has every status, ``size_bytes`` the write-ahead log too."""

    url: str
    dialect: str
    schema_version: int
    counts: dict[str, int]
    size_bytes: int


class Upgraded(msgspec.Struct, frozen=True, kw_only=True):
    """What an upgrade did, for programs; ``version_before`` is null for a database that had no schema."""

    url: str
    version_before: int | None
    version_after: int


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted, for programs: transactions that had ended before ``ended_before_at`` (seconds since 1970)."""

    url: str
    deleted_count: int
    ended_before_at: float


@click.group()
def db() -> None:
    """Look after the database: its schema and what it holds."""


db.add_command(import_dtm)


@db.command(epilog=examples("flowtx db upgrade", "flowtx db upgrade --db sqlite:///bank.db"))
@db_option
@json_option
def upgrade(*, db: str, as_json: bool) -> None:
    """Bring the schema to the version this flowtx needs, creating the database if there is none.

    SQLite databases are upgraded whenever they are opened; other databases only here.
    """
    done = upgrade_store(db)
    if as_json:
        print_json(Upgraded(url=db, version_before=done.before, version_after=done.after))
    else:
        print_pictures(Text(sentence(db, done)))


@db.command(epilog=examples("flowtx db show", "flowtx db show --json | jq .counts.failed"))
@db_option
@json_option
def show(*, db: str, as_json: bool) -> None:
    """Show what a database holds: schema version, transactions by status, size."""
    store = open_sqlite(db, create=False, migrate=False)
    try:
        description = store.describe()
    finally:
        store.close()
    if as_json:
        print_json(shown(description))
    else:
        print_pictures(picture(shown(description)))


@db.command(epilog=examples("flowtx db prune", "flowtx db prune --older-than 12h", "flowtx db prune --json"))
@db_option
@click.option(
    "--older-than",
    default="7d",
    show_default=True,
    metavar="LENGTH",
    help="How long ago a transaction must have ended: 90s, 10min, 12h or 3d.",
)
@json_option
def prune(*, db: str, older_than: str, as_json: bool) -> None:
    """Delete transactions that ended long ago, with their journals.

    A server does this by itself, after retention_s; this command is for databases without one, and for once. What is
    unfinished is never deleted, nor is a child that its unfinished parent may ask for again. Pieces of large payloads
    go with what they belong to. The file does not become smaller: the room is used for what comes.
    """
    ended_before_at = time.time() - seconds_of(older_than, "--older-than")
    store = open_sqlite(db, create=False, migrate=False)
    deleted_count = 0
    try:
        while count := store.prune(ended_before_at, PRUNE_MAX):
            deleted_count += count
        _sweep(store)
    finally:
        store.close()
    if as_json:
        print_json(Pruned(url=db, deleted_count=deleted_count, ended_before_at=ended_before_at))
    else:
        transactions = "transaction" if deleted_count == 1 else "transactions"
        print_pictures(Text(f"{deleted_count:,} {transactions} that had ended more than {older_than} ago: deleted."))


def _sweep(store: Store) -> None:
    """Delete the pieces of large payloads that nothing names, as nodes do: there may be no node to do it."""
    while ids := store.uncounted(NO_NODE, time.time(), PRUNE_MAX):
        while store.sweep(ids, PIECES_MAX):
            pass


def sentence(url: str, done: Upgrade) -> str:
    """What an upgrade did, for people."""
    if done.before is None:
        return f"{url} has a new schema, version {done.after}."
    if done.before == done.after:
        return f"{url} has schema version {done.after} already; there was nothing to do."
    return f"{url} was upgraded from schema version {done.before} to {done.after}."


def shown(description: StoreDescription) -> Shown:
    """A description with every status, those that no transaction has too."""
    return Shown(
        url=description.url,
        dialect=description.dialect,
        schema_version=description.schema_version,
        counts={status: description.counts.get(status, 0) for status in STATUSES},
        size_bytes=description.size_bytes,
    )


def picture(found: Shown) -> Table:
    """The table a person reads."""
    table = Table.grid(padding=(0, 2))
    table.add_row("database", Text(found.url))
    table.add_row("dialect", found.dialect)
    table.add_row("schema version", str(found.schema_version))
    table.add_row("size", bytes_in_words(found.size_bytes))
    for status, count in found.counts.items():
        table.add_row(styled_status(status), f"{count:,}")
    return table


def bytes_in_words(count: int) -> str:
    """A number of bytes in few characters: ``0.5 KiB``, ``12.3 MiB``."""
    size = count / 1024
    for unit in ("KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
