"""``flowtx list``: transactions, newest first."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click
import msgspec
from rich.table import Table
from rich.text import Text

from flowtx.cli.lines import ENCODED
from flowtx.cli.options import codec_option, db_option, examples, json_option
from flowtx.cli.printing import day_and_time, length, make_table, print_json, print_pictures, styled_status
from flowtx.cli.reading import reading
from flowtx_engine.journal.codec import is_encoded
from flowtx_engine.journal.records import Filter, Transaction

LIMIT = 50


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction in a list for programs; instants are seconds since the epoch."""

    gid: str
    pattern: str
    workflow: str
    version: str
    status: str
    reason: str
    owner: str
    attempt_count: int
    last_error: str
    wake_at: float | None
    created_at: float
    updated_at: float
    finished_at: float | None


@click.command(
    "list",
    epilog=examples(
        "flowtx list",
        "flowtx list --status failed --limit 10",
        "flowtx list --unfinished --json | jq -r '.[].gid'",
    ),
)
@db_option
@click.option(
    "--status",
    type=click.Choice(["prepared", "submitted", "aborting", "succeed", "failed"]),
    help="Only those that stand here.",
)
@click.option("--workflow", metavar="NAME", help="Only those of this workflow.")
@click.option("--unfinished", is_flag=True, help="Only those that are still under way.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=LIMIT, show_default=True, help="At most so many.")
@codec_option
@json_option
def list_(
    *,
    db: str,
    codec: str | None,
    status: str | None,
    workflow: str | None,
    unfinished: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List transactions, newest first."""
    wanted = Filter(status=status or "", workflow=workflow or "", unfinished=unfinished)
    with reading(db, codec) as store:
        rows = store.transactions(wanted, before_id=None, limit=limit + 1)
    shown, more = rows[:limit], len(rows) > limit
    if as_json:
        print_json([listed(row) for row in shown])
        return
    if not shown:
        print_pictures(Text("No transactions." if wanted == Filter() else "No such transactions."))
        return
    print_pictures(table_of(shown, now_at=time.time()))
    if more:
        print_pictures(Text(f"There are more; these are the newest {limit}.", "dim"))


def listed(row: Transaction) -> Listed:
    """A row without its payloads; texts that only the codec can read say so."""
    found = Listed(**{name: getattr(row, name) for name in Listed.__struct_fields__})
    return msgspec.structs.replace(found, reason=in_clear(row.reason), last_error=in_clear(row.last_error))


def in_clear(text: str) -> str:
    """A text of a row, or that it is encoded."""
    return ENCODED if is_encoded(text) else text


def table_of(rows: Sequence[Transaction], *, now_at: float) -> Table:
    """The table a person reads."""
    table = make_table()
    # A gid is copied from here, so it is not folded as long as it is not longer than a UUID.
    table.add_column("gid", overflow="fold", style="bold", min_width=min(36, max(len(row.gid) for row in rows)))
    table.add_column("workflow", overflow="fold")
    table.add_column("status")
    table.add_column("began", no_wrap=True)
    table.add_column("took", no_wrap=True, justify="right")
    table.add_column("reason or last error", overflow="fold")
    for row in rows:
        took = length((row.finished_at if row.finished_at is not None else now_at) - row.created_at)
        table.add_row(
            Text(row.gid),
            Text(row.workflow),
            styled_status(row.status),
            day_and_time(row.created_at),
            Text(took, "" if row.is_final else "yellow"),
            Text(in_clear(row.reason or row.last_error)),
        )
    return table
