"""``flowtx cancel``: as ``engine.cancel`` does it."""

from __future__ import annotations

import click
from rich.text import Text

from flowtx.cli.list import listed
from flowtx.cli.options import codec_option, db_option, examples, json_option
from flowtx.cli.printing import print_json, print_pictures
from flowtx.cli.reading import reading
from flowtx.cli.telling import tell
from flowtx_engine.kernel.events import Cancelled
from flowtx_engine.runtime.telling import putting


@click.command(epilog=examples('flowtx cancel t-1 --reason "the customer called"'))
@click.argument("gid")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is kept with the transaction.")
@db_option
@codec_option
@json_option
def cancel(*, gid: str, reason: str, db: str, codec: str | None, as_json: bool) -> None:
    """Cancel the transaction GID: it takes back what it did.

    Its workflow unwinds first. A run that has returned already, and only makes good what waited for its success, is not
    taken back any more.
    """
    with reading(db, codec) as store:
        row = tell(store, gid, putting(Cancelled(reason=reason)))
    if as_json:
        print_json(listed(row))
    else:
        print_pictures(Text(f"{gid} is cancelled: it takes back what it did"))
