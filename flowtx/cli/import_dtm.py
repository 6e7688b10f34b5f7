"""``flowtx db import-dtm``: going on in flowtx with what DTM has begun.

The law of this file: DTM's store is only read, and no password is ever printed. Its server should not run meanwhile:
what both would drive, both would call.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from flowtx.cli.failures import FAILED, Misused
from flowtx.cli.loading import load_codec
from flowtx.cli.options import codec_option, examples, json_option
from flowtx.cli.printing import Style, make_table, print_json, print_pictures, styled_status
from flowtx.cli.settings_options import config_option
from flowtx.config.load import load
from flowtx.config.secrets import without_password
from flowtx.dtm.takeover.opening import open_source
from flowtx.dtm.takeover.takeover import Report, Taken, TopicTaken, What, take_over
from flowtx_engine.journal.encoded import EncodedStore
from flowtx_engine.journal.sql import open_sqlite, open_store
from flowtx_engine.journal.store import Store
from flowtx_engine.journal.whole import WholeStore

STYLES: dict[What, Style] = {"imported": "green", "skipped": "dim", "refused": "red"}


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, for programs; ``counts`` are of transactions."""

    source: str
    db: str
    is_dry_run: bool
    counts: dict[str, int]
    finished_count: int
    transactions: tuple[Taken, ...]
    topics: tuple[TopicTaken, ...]


@click.command(
    "import-dtm",
    epilog=examples(
        "flowtx db import-dtm --from mysql://dtm:secret@db/dtm --dry-run",
        "flowtx db import-dtm --from redis://cache:6379/0 --config dtm.yml --json",
    ),
)
@click.option(
    "--from",
    "source_url",
    metavar="URL",
    required=True,
    envvar="FLOWTX_DTM_STORE",
    show_envvar=True,
    help="DTM's store: mysql://, postgresql:// or redis://, with user and password.",
)
@click.option(
    "--redis-prefix", metavar="TEXT", default="{a}", show_default=True, help="What DTM's keys in Redis begin with."
)
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Say what would be done, and write nothing.")
@click.option("--db", "db", metavar="URL", help="The database with the journal. Left out: that of the settings.")
@config_option
@codec_option
@json_option
def import_dtm(
    *,
    source_url: str,
    redis_prefix: str,
    is_dry_run: bool,
    db: str | None,
    config_file: Path | None,
    codec: str | None,
    as_json: bool,
) -> None:
    """Go on in flowtx with the transactions that a DTM has not finished, and take its topics over.

    Stop DTM first. Its store is only read, and what is there already is left as it is, so that this can be repeated.
    Times without a zone, as MySQL keeps them, are read in this machine's; TZ changes it. Exit code 1 says that
    something was left behind, with the reason beside it.
    """
    given = {} if db is None else {"db": db}
    settings = load(given, file=config_file, environment=os.environ).settings
    if settings.db == "memory://":
        raise Misused("memory:// is gone with this command\n  -> Name a database with --db or FLOWTX_DB.")
    name = without_password(source_url)
    source = open_source(source_url, name=name, redis_prefix=redis_prefix)
    try:
        with _journal(settings.db, codec or settings.codec, is_dry_run=is_dry_run) as store:
            report = take_over(source, store, settings, is_dry_run=is_dry_run, now_at=time.time())
    finally:
        source.close()
    done = _as_data(report, source=name, db=without_password(settings.db))
    if as_json:
        print_json(done)
    else:
        print_pictures(*_pictures(done))
    if not report.is_whole:
        raise click.exceptions.Exit(FAILED)


@contextmanager
def _journal(url: str, codec_name: str, *, is_dry_run: bool) -> Generator[Store | None]:
    """The journal to write to; on a dry run as it is, or None when there is none yet."""
    codec = load_codec(codec_name)
    store: Store
    if is_dry_run and url.startswith("sqlite:"):
        if not Path(url.removeprefix("sqlite:///")).exists():
            yield None
            return
        store = open_sqlite(url, create=False, migrate=False)
    else:
        store = open_store(url)
    try:
        yield WholeStore(store if codec is None else EncodedStore(store, codec))
    finally:
        store.close()


def _as_data(report: Report, *, source: str, db: str) -> Imported:
    found = Counter(one.what for one in report.transactions)
    return Imported(
        source=source,
        db=db,
        is_dry_run=report.is_dry_run,
        counts={what: found[what] for what in STYLES},
        finished_count=report.finished_count,
        transactions=report.transactions,
        topics=report.topics,
    )


def _pictures(done: Imported) -> list[Table | Text]:
    table = make_table()
    for heading in ("gid", "pattern", "status", "", "reason"):
        table.add_column(heading)
    for one in done.transactions:
        table.add_row(Text(one.gid), one.pattern, styled_status(one.status), _styled(one.what), Text(one.reason))
    for topic in done.topics:
        table.add_row(Text(topic.topic), "topic", "", _styled(topic.what), Text(topic.reason))
    counts = ", ".join(f"{count:,} {what}" for what, count in done.counts.items())
    said = f"transactions: {counts}; {done.finished_count:,} that DTM has finished stay in its store"
    if done.is_dry_run:
        said += "\nThis was a dry run: nothing was written."
    return [table, Text(said)] if done.transactions or done.topics else [Text(said)]


def _styled(what: What) -> Text:
    return Text(what, STYLES[what])
