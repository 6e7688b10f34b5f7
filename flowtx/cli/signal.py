"""``flowtx signal``: a signal to one run, as ``engine.signal`` sends it."""

from __future__ import annotations

import click
import msgspec
from rich.text import Text

from flowtx.cli.list import listed
from flowtx.cli.options import codec_option, db_option, examples, json_option
from flowtx.cli.printing import print_json, print_pictures
from flowtx.cli.reading import reading
from flowtx.cli.telling import json_of, tell
from flowtx_engine.kernel.events import Signalled
from flowtx_engine.runtime.telling import putting


@click.command(
    epilog=examples("flowtx signal t-1 paid --value 3000", "flowtx signal t-1 approved --value '\"ann\"' --key ann-1"),
)
@click.argument("gid")
@click.argument("name")
@click.option("--value", metavar="JSON", help="What the signal carries. Left out: null.")
@click.option("--key", default="", metavar="TEXT", help="Of several signals with one key the run gets one.")
@db_option
@codec_option
@json_option
def signal(*, gid: str, name: str, value: str | None, key: str, db: str, codec: str | None, as_json: bool) -> None:
    """Send the signal NAME to the transaction GID.

    It is kept until the workflow takes it, whether or not it waits for it yet. The run goes on wherever its code is
    loaded.
    """
    fact = Signalled(name=name, value=msgspec.Raw(json_of(value)), key=key)
    with reading(db, codec) as store:
        row = tell(store, gid, putting(fact))
    if as_json:
        print_json(listed(row))
    else:
        print_pictures(Text(f"{gid} has the signal {name}"))
