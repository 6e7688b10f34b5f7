"""``flowtx run``: one transaction of a Python workflow, begun or gone on with, in this process."""

from __future__ import annotations

import contextlib
import uuid
from datetime import datetime
from functools import partial

import click
import msgspec
import trio

from flowtx.cli.failures import FAILED, INTERRUPTED
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
from flowtx.cli.printing import print_json
from flowtx.cli.signals import watch_signals
from flowtx.cli.times import when_of
from flowtx_dsl.error_codec import ErrorRecord
from flowtx_dsl.errors import TransactionFailed
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.codec import PayloadCodec
from flowtx_engine.journal.records import Transaction
from flowtx_engine.runtime.engine import Engine
from flowtx_engine.runtime.open import open_engine

LOOK_S = 1.0
"""How often a run that takes long is looked at for faults to tell."""


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run, for programs."""

    gid: str
    status: str
    reason: str
    result: msgspec.Raw


@click.command(
    epilog=examples(
        'flowtx run bank:transfer --gid t-1 --input \'{"payer": "alice", "payee": "bob", "cents": 3000}\'',
        "flowtx run bank:transfer --gid t-1 --input @transfer.json --json",
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
@click.pass_context
def run(
    context: click.Context,
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
    """Run one transaction of a Python workflow to its end and print its result as JSON.

    Modules of the current folder can be named. The same gid and input again give the same run: what was interrupted
    goes on, what is finished just answers. With --at or --delay it waits until then; it can be interrupted meanwhile,
    and begins in time wherever the workflow is loaded.
    """
    when = when_of(at, delay)
    loaded = load_workflow(workflow)
    args = arguments_of(loaded, None if input_ is None else read_text(input_))
    if not gid:
        gid = str(uuid.uuid4())
        click.echo(f"flowtx: the gid is {gid}", err=True)
    row = trio.run(partial(_run, loaded, args, gid=gid, when=when, db=db, codec=load_codec(codec)))
    if row is None:
        click.echo(f"flowtx: {gid} is not finished; the same command with --gid {gid} goes on with it", err=True)
        context.exit(INTERRUPTED)
    succeeded = row.status == "succeed"
    if as_json:
        print_json(RunResult(gid=gid, status=row.status, reason=row.reason, result=_value_of(row)))
    elif succeeded:
        print_json(_value_of(row))
    else:
        click.echo(f"flowtx: transaction {gid} failed: {row.reason}\n  -> See its journal: flowtx show {gid}", err=True)
    if not succeeded:
        if context.find_root().params["debug"]:
            click.echo(_trace_of(row), err=True)
        context.exit(FAILED)


async def _run(
    workflow: AnyWorkflow,
    args: tuple[object, ...],
    *,
    gid: str,
    when: tuple[datetime | None, float | None],
    db: str,
    codec: PayloadCodec | None,
) -> Transaction | None:
    """The transaction when it has ended, None when somebody asked to stop before."""
    at, delay_s = when
    asked_to_stop = trio.Event()
    row: Transaction | None = None
    async with trio.open_nursery() as watching:
        await watching.start(watch_signals, asked_to_stop)
        async with open_engine(db, workflows=[workflow], codec=codec) as engine:
            # Waited for in a task of its own: being asked to stop ends the waiting, and leaving the block the calls.
            async with trio.open_nursery() as running:
                running.start_soon(_cancel_when, asked_to_stop, running.cancel_scope)
                running.start_soon(_tell_faults, engine, gid)
                with contextlib.suppress(TransactionFailed):  # its row says it all
                    await engine.run(workflow, *args, gid=gid, at=at, delay_s=delay_s)
                running.cancel_scope.cancel()
            if not asked_to_stop.is_set():
                row = await engine.transaction(gid)
        watching.cancel_scope.cancel()
    return row


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _tell_faults(engine: Engine, gid: str) -> None:
    """Say on stderr why a run does not come on; each fault once."""
    told = (0, "")
    while True:
        await trio.sleep(LOOK_S)
        row = await engine.transaction(gid)
        if row is not None and row.last_error and told != (row.attempt_count, row.last_error):
            told = (row.attempt_count, row.last_error)
            click.echo(f"flowtx: {gid} waits, fault {row.attempt_count}: {row.last_error}", err=True)


def _value_of(row: Transaction) -> msgspec.Raw:
    """The result of a run that succeeded; null for one that did not."""
    return msgspec.Raw(row.result if row.status == "succeed" and row.result is not None else b"null")


def _trace_of(row: Transaction) -> str:
    """The traceback of the error that turned a run round."""
    error = msgspec.json.decode(row.result or b"null", type=ErrorRecord | None)
    return error.trace if error is not None else ""
