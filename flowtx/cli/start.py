"""``flowtx start``: one transaction of a Python workflow, stored for whichever node has its code; nothing is driven."""

from __future__ import annotations

import time
import uuid

import click
import msgspec
from rich.text import Text

from flowtx.cli.failures import Misused
from flowtx.cli.inputs import arguments_of, read_text
from flowtx.cli.loading import load_codec, load_workflow
from flowtx.cli.options import (
    at_option,
    codec_option,
    db_option,
    delay_option,
    examples,
    gid_option,
    input_option,
    json_option,
)
from flowtx.cli.printing import day_and_time, print_json, print_pictures
from flowtx.cli.times import when_of
from flowtx_engine.journal.codec import PayloadCodec
from flowtx_engine.journal.encoded import EncodedStore
from flowtx_engine.journal.errors import ConflictError
from flowtx_engine.journal.records import Transaction, Write
from flowtx_engine.journal.sql import open_store
from flowtx_engine.journal.whole import WholeStore
from flowtx_engine.runtime.starting import beginning_of, check_gid, check_same, first_write, starts_at_of


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """What was stored, for programs; ``starts_at`` is in seconds since the epoch, null: at once."""

    gid: str
    status: str
    starts_at: float | None
    is_new: bool


@click.command(
    epilog=examples(
        "flowtx start bank:settle --at 2026-12-24T18:00",
        "flowtx start bank:transfer --gid t-1 --input @transfer.json --delay 10min",
    ),
)
@click.argument("workflow", metavar="MODULE:WORKFLOW")
@input_option
@gid_option
@at_option
@delay_option
@db_option
@codec_option
@json_option
def start(
    *,
    workflow: str,
    input_: str | None,
    gid: str,
    at: str | None,
    delay: str | None,
    db: str,
    codec: str | None,
    as_json: bool,
) -> None:
    """Store one transaction, for a server to begin now or later.

    It is begun by whichever node has the workflow loaded (flowtx serve --app). The same gid and input again give the
    same run, at its own time.
    """
    if db == "memory://":
        raise Misused("memory:// is gone with this command\n  -> Name a database with --db or FLOWTX_DB.")
    when = when_of(at, delay)
    loaded = load_workflow(workflow)
    payload = loaded.signature.encode_args(arguments_of(loaded, None if input_ is None else read_text(input_)))
    now_at = time.time()
    starts_at = starts_at_of(*when, now_at=now_at)
    check_gid(gid or "made")
    begins = beginning_of(loaded, payload, now_at=now_at, starts_at=starts_at)
    write, row, _ = first_write(
        payload,
        gid=gid or str(uuid.uuid4()),
        pattern="workflow",
        options=b"{}",
        began=begins.began,
        owner="",
        wake_at=begins.wake_at,
        now_at=now_at,
        place=begins.place,
    )
    is_new, found = put(write, db=db, codec=load_codec(codec))
    if found is not None:
        check_same(found, loaded, payload)
        row = found
    if as_json:
        print_json(Started(gid=row.gid, status=row.status, starts_at=starts_at if is_new else None, is_new=is_new))
    elif not is_new:
        print_pictures(Text(f"{row.gid} is there already: {row.status}"))
    else:
        when_text = "as soon as a node has it" if starts_at is None else day_and_time(starts_at)
        print_pictures(Text(f"{row.gid} begins {when_text}"))


def put(write: Write, *, db: str, codec: PayloadCodec | None) -> tuple[bool, Transaction | None]:
    """Store a run; whether it is new, and the row that has its gid when it is not."""
    inner = open_store(db)
    store = WholeStore(inner if codec is None else EncodedStore(inner, codec))
    try:
        (result,) = store.commit([write])
        if result is None:
            return True, None
        if not isinstance(result, ConflictError):
            raise result
        return False, store.transaction(write.gid)
    finally:
        store.close()
