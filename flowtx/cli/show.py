"""``flowtx show``: one transaction, and its journal as a person would want to read it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import click
import msgspec
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from flowtx.cli.hindrances import hindrances_of
from flowtx.cli.lines import ENCODED, NO_VEILS, Line, Mood, cut, lines_of, veil_of
from flowtx.cli.list import Listed, in_clear, listed
from flowtx.cli.loading import load_app
from flowtx.cli.options import codec_option, db_option, examples, json_option
from flowtx.cli.printing import (
    Style,
    day_and_time,
    length,
    make_table,
    print_json,
    print_pictures,
    styled_status,
    time_of_day,
)
from flowtx.cli.reading import reading
from flowtx.cli.task_tree import tree_of
from flowtx.dtm.branches import PATTERNS, replayed
from flowtx_dsl.errors import NondeterminismError, NoSuchTransaction
from flowtx_dsl.queues import without_secrets
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.codec import is_encoded, stored_size
from flowtx_engine.journal.pieces import in_pieces, is_in_pieces
from flowtx_engine.journal.records import JournalRow, Transaction
from flowtx_engine.kernel.events import Event, encode_fact
from flowtx_engine.kernel.view import RunView, view_of_journal
from flowtx_engine.runtime.history import event_in_clear
from flowtx_engine.runtime.replay import view_of_history

TAKES_BACK = frozenset({"compensate", "cancel", "rollback"})
"""The ops that take a branch back."""
WAITS_SHOWN_MAX = 10
"""So many branches that a saga waits for are named; the others are counted."""

MOOD_STYLES: dict[Mood, Style] = {"good": "green", "bad": "red", "waiting": "yellow", "plain": ""}


class ShownEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event for programs; ``at`` is in seconds since the epoch.

    ``encoded`` says that a codec wrote it and was not given: the fact is without arguments, values and texts. So is a
    large one, of which ``size_bytes`` is the length.
    """

    seq: int
    at: float
    address: str
    fact: msgspec.Raw
    encoded: bool
    size_bytes: int | None = None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction for programs, with all it holds."""

    transaction: Listed
    input: msgspec.Raw
    options: msgspec.Raw
    result: msgspec.Raw
    events: tuple[ShownEvent, ...]
    tasks: RunView | None
    tasks_error: str


@click.command(
    epilog=examples(
        "flowtx show t-1",
        "flowtx show t-1 --app bank",
        "flowtx show t-1 --json | jq '.events[].fact'",
    ),
)
@click.argument("gid")
@db_option
@codec_option
@click.option(
    "--app",
    "apps",
    multiple=True,
    metavar="MODULE[:NAME]",
    envvar="FLOWTX_APP",
    show_envvar=True,
    help="Where its workflow is: the journal is replayed, performing nothing, to show what each task waits for.",
)
@json_option
def show(*, gid: str, db: str, codec: str | None, apps: tuple[str, ...], as_json: bool) -> None:
    """Show the transaction GID and its journal.

    What it waits for is shown as a tree of its tasks, when its workflow's module is given. Works while a server runs on
    the database, and when none does.
    """
    workflows = [workflow for app in apps for workflow in load_app(app)]
    with reading(db, codec) as store:
        row = store.transaction(gid)
        if row is None:
            raise NoSuchTransaction(f"no transaction has the gid {gid}", remedy="`flowtx list` shows those there are.")
        # The row first: events may be newer than it, never older.
        stored = store.history(gid)
        hindrance = hindrances_of(store, [row], now_at=time.time()).of(row)
    events = [event_in_clear(one) for one in stored]
    veils = {one.seq: veil for one in stored if (veil := veil_of(one.data, gid=gid))}
    sizes = {one.seq: size_of(one) for one in stored if is_in_pieces(one.data)}
    tasks = replace(tasks_of(row, events, workflows), hindrance=hindrance)
    if as_json:
        print_json(shown(row, events, veils, sizes, tasks))
    else:
        print_pictures(*pictures_of(row, events, veils, tasks, now_at=time.time()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """What a run waits for, if it does and that can be told; ``complaint`` says why its code could not tell more.

    ``hindrance`` is what keeps it from going on although it could.
    """

    view: RunView | None = None
    complaint: str = ""
    hindrance: str = ""


NO_TASKS = Tasks()
NO_SIZES: Mapping[int, int] = MappingProxyType({})


def size_of(row: JournalRow) -> int:
    """How many bytes an event has that is kept in pieces."""
    return in_pieces(row.data, gid=row.gid, field="data", seq=row.seq).size


def tasks_of(row: Transaction, events: Sequence[Event], workflows: Iterable[AnyWorkflow]) -> Tasks:
    """What an unfinished run waits for: by its code if it is among these workflows, else by its journal alone."""
    if row.is_final:
        return NO_TASKS
    loaded = {(workflow.name, workflow.version): workflow for workflow in workflows}
    workflow = loaded.get((row.workflow, row.version))
    if workflow is None or veil_of(row.input, gid=row.gid):
        return Tasks(view=view_of_journal(events))
    try:
        return Tasks(view=view_of_history(workflow, row.input, events, gid=row.gid))
    except NondeterminismError as error:
        return Tasks(view=view_of_journal(events), complaint=str(error))


def shown(
    row: Transaction,
    events: Sequence[Event],
    veils: Mapping[int, str] = NO_VEILS,
    sizes: Mapping[int, int] = NO_SIZES,
    tasks: Tasks = NO_TASKS,
) -> Shown:
    """A transaction and its journal, whole; of the events that were not read, with their seqs, what stands in clear."""
    return Shown(
        transaction=listed(row, waits_for=tasks.hindrance),
        input=_json_of(row.input, gid=row.gid),
        options=_json_of(row.options, gid=row.gid),
        result=_json_of(b"null" if row.result is None else row.result, gid=row.gid),
        events=tuple(
            ShownEvent(
                seq=event.seq,
                at=event.at,
                address=event.address,
                fact=_shown(encode_fact(event.fact)),
                encoded=veils.get(event.seq) == ENCODED,
                size_bytes=sizes.get(event.seq),
            )
            for event in events
        ),
        tasks=tasks.view,
        tasks_error=tasks.complaint,
    )


def _json_of(payload: bytes, *, gid: str) -> msgspec.Raw:
    """A payload, or how long it is when only its codec can read it, or it is large."""
    if is_in_pieces(payload):
        size = in_pieces(payload, gid=gid, field="input").size
        return msgspec.Raw(msgspec.json.encode({"bytes_in_pieces": size}))
    if is_encoded(payload):
        return msgspec.Raw(msgspec.json.encode({"encoded_bytes": stored_size(payload)}))
    return _shown(payload)


def _shown(json: bytes) -> msgspec.Raw:
    """JSON without what lets one into a queue that its URL names."""
    return msgspec.Raw(without_secrets(json.decode()).encode())


def pictures_of(
    row: Transaction,
    events: Sequence[Event],
    veils: Mapping[int, str] = NO_VEILS,
    tasks: Tasks = NO_TASKS,
    *,
    now_at: float,
) -> list[RenderableType]:
    """What a person reads: the transaction in a few lines, what it waits for, then its journal."""
    place = "branch" if row.workflow in PATTERNS else "address"
    pictures: list[RenderableType] = [header_of(row, events, now_at=now_at, hindrance=tasks.hindrance)]
    if tasks.complaint:
        pictures += ["", Text(tasks.complaint, "red")]
    if tasks.view is not None and tasks.view.waiting:
        pictures += ["", tree_of(tasks.view, now_at=now_at, encoded=is_encoded(row.input))]
    return [*pictures, table_of(lines_of(row, events, veils), place=place)]


def header_of(row: Transaction, events: Sequence[Event], *, now_at: float, hindrance: str = "") -> Table:
    """The transaction in a few lines."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, fact in _facts_of(row, events, now_at=now_at, hindrance=hindrance):
        grid.add_row(name, fact)
    return grid


def _facts_of(
    row: Transaction, events: Sequence[Event], *, now_at: float, hindrance: str
) -> Iterator[tuple[str, Text]]:
    """What there is to say of a transaction as a whole, and its name; what has nothing to say is left out."""
    yield "transaction", Text(row.gid, "bold")
    if row.workflow in PATTERNS:
        yield "pattern", Text(row.pattern)
    else:
        yield "workflow", Text(f"{row.workflow} version {row.version}")
        yield "input", Text(veil_of(row.input, gid=row.gid) or cut(without_secrets(row.input.decode()[1:-1])))
    yield "status", styled_status(row.status)
    if row.needs_decision:
        yield "needs", Text("a person's decision: flowtx decide GID ADDRESS succeeded, refused or retry", "red")
    if is_encoded(row.input):
        yield "payloads", Text("encoded; give their codec with --codec to see them", "yellow")
    if row.reason:
        yield "reason", Text(cut(in_clear(row.reason)))
    if row.status == "succeed" and row.result is not None and row.result != b"null":
        yield "result", Text(veil_of(row.result, gid=row.gid) or cut(row.result.decode()))
    yield "began", _times_of(row, now_at)
    if not row.is_final:
        if not (hindrance and row.wake_at is None and not row.owner):
            yield "now", _now_of(row, now_at)
        if hindrance:
            yield "waits for", Text(hindrance, "yellow")
        yield from (("waits for", Text(one)) for one in _waits_for(row, events))
    if row.last_error:
        faults = f"{row.attempt_count} times in a row: " if row.attempt_count > 1 else ""
        yield "last error", Text(cut(f"{faults}{in_clear(row.last_error)}"), "yellow")


def _waits_for(row: Transaction, events: Sequence[Event]) -> list[str]:
    """The participants whose outcomes one of DTM's patterns waits for."""
    told = [f"branch {place.branch_id} {place.op} {place.url}" for place in replayed(row, events).waiting]
    more = len(told) - WAITS_SHOWN_MAX
    return told if more <= 0 else [*told[:WAITS_SHOWN_MAX], f"{more} more branches"]


def _times_of(row: Transaction, now_at: float) -> Text:
    began = day_and_time(row.created_at)
    if row.finished_at is not None:
        return Text(f"{began}, took {length(row.finished_at - row.created_at)}")
    return Text(f"{began}, {length(now_at - row.created_at)} ago")


def _now_of(row: Transaction, now_at: float) -> Text:
    """Who has it, and what it waits for."""
    pause_s = 0.0 if row.wake_at is None else row.wake_at - now_at
    if row.owner:
        return Text(f"driven by {row.owner}{f', next attempt in {length(pause_s)}' if pause_s > 0 else ''}")
    if row.wake_at is None:
        return Text("waits for something from outside")
    if pause_s > 0:
        return Text(f"waits until {day_and_time(row.wake_at)}, {length(pause_s)} from now")
    return Text("due, and nobody has taken it yet")


def table_of(lines: Sequence[Line], *, place: str) -> Table:
    """The journal, an event a row; compensations stand out by their op, their mark and their colour."""
    table = make_table()
    table.add_column("time", no_wrap=True, style="dim")
    table.add_column(place, no_wrap=True)
    table.add_column("op", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("outcome", no_wrap=True)
    table.add_column("result or error", overflow="fold")
    for line in lines:
        takes_back = line.op in TAKES_BACK
        table.add_row(
            time_of_day(line.at),
            Text(line.place),
            Text(f"<- {line.op}" if takes_back else line.op, "magenta" if takes_back else ""),
            Text(line.what, "magenta" if takes_back else ""),
            Text(line.outcome, MOOD_STYLES[line.mood]),
            Text(line.note),
        )
    return table
