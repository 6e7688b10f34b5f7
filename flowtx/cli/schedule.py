"""``flowtx schedule``: what is started again and again by the clock.

The law of this file: it changes schedules and starts nothing; nodes that have the workflow loaded do.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Generator, Sequence

import click
import msgspec
from rich.table import Table
from rich.text import Text

from flowtx.cli.failures import Misused
from flowtx.cli.inputs import arguments_of, read_text
from flowtx.cli.loading import load_codec, load_workflow
from flowtx.cli.options import codec_option, db_option, examples, input_option, json_option
from flowtx.cli.printing import day_and_time, make_table, print_json, print_pictures
from flowtx.cli.reading import reading
from flowtx_engine.journal.codec import is_encoded, stored_size
from flowtx_engine.journal.encoded import EncodedStore
from flowtx_engine.journal.schedules import CatchUp, CronSchedule, Overlap
from flowtx_engine.journal.sql import open_sqlite
from flowtx_engine.journal.store import Store
from flowtx_engine.runtime.schedules import CATCH_UPS, OVERLAPS, NoSuchSchedule, new_schedule


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule in a list for programs; instants are seconds since the epoch. ``waits_for`` is what hinders it."""

    name: str
    workflow: str
    version: str
    input: msgspec.Raw
    cron: str
    timezone: str
    catch_up: str
    overlap: str
    next_at: float | None
    last_at: float | None
    last_gid: str
    skipped_count: int
    waits_for: str


@click.group()
def schedule() -> None:
    """Start workflows again and again, by the clock."""


@schedule.command("list", epilog=examples("flowtx schedule list", "flowtx schedule list --json | jq '.[].next_at'"))
@db_option
@codec_option
@json_option
def list_(*, db: str, codec: str | None, as_json: bool) -> None:
    """List the schedules, by name."""
    with reading(db, codec) as store:
        found = store.schedules()
        loaded = store.loaded(time.time())
    shown = [listed(one, is_loaded=(one.workflow, one.version) in loaded) for one in found]
    if as_json:
        print_json(shown)
    elif not shown:
        print_pictures(Text("No schedules."))
    else:
        print_pictures(table_of(shown))


@schedule.command(
    epilog=examples(
        "flowtx schedule add nightly bank:settle --cron '0 3 * * *' --timezone Europe/Berlin",
        "flowtx schedule add hourly bank:report --cron '0 * * * *' --input '\"all\"' --overlap skip",
    ),
)
@click.argument("name")
@click.argument("workflow", metavar="MODULE:WORKFLOW")
@click.option("--cron", required=True, metavar="EXPRESSION", help="When: minute, hour, day, month, day of the week.")
@click.option("--timezone", default="UTC", show_default=True, metavar="NAME", help="Whose wall clock that is.")
@click.option(
    "--catch-up",
    type=click.Choice(CATCH_UPS),
    default="latest",
    show_default=True,
    help="Which of the ticks that no node was there for are started.",
)
@click.option(
    "--overlap",
    type=click.Choice(OVERLAPS),
    default="allow",
    show_default=True,
    help="What becomes of a tick while the run of the last one is not finished.",
)
@input_option
@db_option
@codec_option
def add(
    *,
    name: str,
    workflow: str,
    cron: str,
    timezone: str,
    catch_up: CatchUp,
    overlap: Overlap,
    input_: str | None,
    db: str,
    codec: str | None,
) -> None:
    """Add the schedule NAME, or change it; nodes that have the workflow loaded start it.

    When the times stay the same, so does the next tick.
    """
    loaded = load_workflow(workflow)
    args = arguments_of(loaded, None if input_ is None else read_text(input_))
    make = functools.partial(
        new_schedule,
        name,
        loaded,
        args,
        cron=cron,
        timezone=timezone,
        catch_up=catch_up,
        overlap=overlap,
        now_at=time.time(),
    )
    made = make(before=None)  # what is wrong with it is said before a database is made
    with writing(db, codec, create=True) as store:
        made = make(before={one.name: one for one in store.schedules()}.get(name))
        store.put_schedule(made)
    assert made.next_at is not None
    print_pictures(Text(f"{name} is next started {day_and_time(made.next_at)}"))


@schedule.command(epilog=examples("flowtx schedule remove nightly"))
@click.argument("name")
@db_option
def remove(*, name: str, db: str) -> None:
    """Remove the schedule NAME; runs that it has started go on."""
    with writing(db, None, create=False) as store:
        if not store.delete_schedule(name):
            raise NoSuchSchedule(f"there is no schedule {name}", remedy="`flowtx schedule list` shows those there are.")
    print_pictures(Text(f"{name} is removed"))


@contextlib.contextmanager
def writing(db: str, codec: str | None, *, create: bool) -> Generator[Store]:
    """The store at a URL, through the codec that ``module:name`` names."""
    if db == "memory://":
        raise Misused("memory:// is gone with this command\n  -> Name a database with --db or FLOWTX_DB.")
    encodes = load_codec(codec)
    store = open_sqlite(db, create=create)
    try:
        yield store if encodes is None else EncodedStore(store, encodes)
    finally:
        store.close()


def listed(found: CronSchedule, *, is_loaded: bool) -> Listed:
    """A schedule for programs; an input that only its codec can read tells how long it is."""
    names = [name for name in Listed.__struct_fields__ if name not in ("input", "waits_for")]
    encoded = is_encoded(found.input)
    raw = msgspec.json.encode({"encoded_bytes": stored_size(found.input)}) if encoded else found.input
    return Listed(
        **{name: getattr(found, name) for name in names},
        input=msgspec.Raw(raw),
        waits_for="" if is_loaded else f"a node with {found.workflow} version {found.version}",
    )


def table_of(shown: Sequence[Listed]) -> Table:
    """The table a person reads."""
    table = make_table()
    table.add_column("name", overflow="fold", style="bold")
    table.add_column("workflow", overflow="fold")
    table.add_column("cron", no_wrap=True)
    table.add_column("next", no_wrap=True)
    table.add_column("last run", overflow="fold")
    table.add_column("skipped", justify="right")
    table.add_column("waits for", overflow="fold")
    for one in shown:
        table.add_row(
            Text(one.name),
            Text(f"{one.workflow} version {one.version}"),
            Text(f"{one.cron} {one.timezone}"),
            "" if one.next_at is None else day_and_time(one.next_at),
            Text(one.last_gid),
            f"{one.skipped_count}",
            Text(one.waits_for, "yellow"),
        )
    return table
