"""``flowtx decide``: a person says what became of a step that may be made once only.

The law of this file: what is said is appended behind the fence, so it does not matter who else writes meanwhile.
"""

from __future__ import annotations

import click
import msgspec
from rich.text import Text

from flowtx.cli.list import Listed, listed
from flowtx.cli.loading import load_app
from flowtx.cli.options import codec_option, db_option, examples, json_option
from flowtx.cli.printing import print_json, print_pictures
from flowtx.cli.reading import reading
from flowtx.cli.telling import json_of, tell
from flowtx_engine.kernel.events import Verdict
from flowtx_engine.runtime.deciding import deciding
from flowtx_engine.runtime.registry import Registry


class DecidedStep(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, for programs; ``transaction`` is as it stands now."""

    address: str
    verdict: Verdict
    transaction: Listed


@click.command(
    epilog=examples(
        "flowtx decide t-1 0 succeeded --value '\"payment-4711\"'",
        "flowtx decide t-1 0/2/1 refused --reason 'the bank has no record of it'",
        "flowtx decide t-1 0 retry",
    ),
)
@click.argument("gid")
@click.argument("address")
@click.argument("verdict", type=click.Choice(["succeeded", "refused", "retry"]))
@click.option("--value", metavar="JSON", help="What the step would have returned, when it succeeded. Left out: null.")
@click.option("--reason", default="", metavar="TEXT", help="Why it was refused; the workflow gets it.")
@click.option(
    "--app",
    "apps",
    multiple=True,
    metavar="MODULE[:NAME]",
    envvar="FLOWTX_APP",
    show_envvar=True,
    help="Where its workflow is: whether the step can have this result is then checked first.",
)
@db_option
@codec_option
@json_option
def decide(
    *,
    gid: str,
    address: str,
    verdict: Verdict,
    value: str | None,
    reason: str,
    apps: tuple[str, ...],
    db: str,
    codec: str | None,
    as_json: bool,
) -> None:
    """Say what became of a step of GID that may be made once only.

    The step at ADDRESS is in doubt: it was begun, and nobody knows whether it happened. It succeeded, it was refused
    (it did not happen, and shall not), or it is to be made again. `flowtx list --needs-decision` lists what waits.
    """
    data = json_of(value)
    loaded = Registry(workflow for app in apps for workflow in load_app(app))
    with reading(db, codec) as store:
        row = tell(store, gid, deciding(address, verdict, value=data, reason=reason, registry=loaded))
    if as_json:
        print_json(DecidedStep(address=address, verdict=verdict, transaction=listed(row)))
    else:
        print_pictures(Text(f"{gid} goes on: the step at {address} counts as {_in_words(verdict)}"))


def _in_words(verdict: Verdict) -> str:
    return "not made yet, and is made again" if verdict == "retry" else verdict
