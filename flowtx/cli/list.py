"""``flowtx list``: transactions, newest first."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import click
import msgspec
from rich.table import Table
from rich.text import Text

from flowtx.cli.hindrances import hindered, hindrances_of
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
    needs_decision: bool
    wake_at: float | None
    created_at: float
    updated_at: float
    finished_at: float | None
    waits_for: str = ""


@click.command(
    "list",
    epilog=examples(
        "flowtx list",
        "flowtx list --status failed --limit 10",
        "flowtx list --unfinished --json | jq -r '.[].gid'",
        "flowtx list --waiting",
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
@click.option(
    "--waiting",
    is_flag=True,
    help="Only those that could go on but for a node with their code, or for a free place under their limit.",
)
@click.option("--needs-decision", is_flag=True, help="Only those that wait for a person: see flowtx decide.")
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
    waiting: bool,
    needs_decision: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List transactions, newest first."""
    wanted = Filter(
        status=status or "",
        workflow=workflow or "",
        unfinished=unfinished or waiting,
        needs_decision=needs_decision,
    )
    now_at = time.time()
    with reading(db, codec) as store:
        if waiting:
            found = list(itertools.islice(hindered(store, wanted, now_at=now_at), limit + 1))
        else:
            rows = store.transactions(wanted, before_id=None, limit=limit + 1)
            hindrances = hindrances_of(store, rows, now_at=now_at)
            found = [(row, hindrances.of(row)) for row in rows]
    shown, more = found[:limit], len(found) > limit
    if as_json:
        print_json([listed(row, waits_for=why) for row, why in shown])
        return
    if not shown:
        print_pictures(Text("No transactions." if wanted == Filter() else "No such transactions."))
        return
    print_pictures(table_of(shown, now_at=now_at))
    if more:
        print_pictures(Text(f"There are more; these are the newest {limit}.", "dim"))


def listed(row: Transaction, *, waits_for: str = "") -> Listed:
    """A row without its payloads; texts that only the codec can read say so."""
    columns = {name: getattr(row, name) for name in Listed.__struct_fields__ if name != "waits_for"}
    found = Listed(**columns, waits_for=waits_for)
    return msgspec.structs.replace(found, reason=in_clear(row.reason), last_error=in_clear(row.last_error))


def in_clear(text: str) -> str:
    """A text of a row, or that it is encoded."""
    return ENCODED if is_encoded(text) else text


def table_of(found: Sequence[tuple[Transaction, str]], *, now_at: float) -> Table:
    """The table a person reads."""
    table = make_table()
    # A gid is copied from here, so it is not folded as long as it is not longer than a UUID.
    table.add_column("gid", overflow="fold", style="bold", min_width=min(36, max(len(row.gid) for row, _ in found)))
    table.add_column("workflow", overflow="fold")
    table.add_column("status")
    table.add_column("began", no_wrap=True)
    table.add_column("took", no_wrap=True, justify="right")
    table.add_column("reason, last error or what it waits for", overflow="fold")
    for row, why in found:
        took = length((row.finished_at if row.finished_at is not None else now_at) - row.created_at)
        table.add_row(
            Text(row.gid),
            Text(row.workflow),
            styled_status(row.status) if not row.needs_decision else Text("needs decision", "red"),
            day_and_time(row.created_at),
            Text(took, "" if row.is_final else "yellow"),
            Text(f"waits for {why}", "yellow") if why else Text(in_clear(row.reason or row.last_error)),
        )
    return table
