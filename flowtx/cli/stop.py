"""``flowtx stop``: as ``engine.stop`` does it."""

from __future__ import annotations

import click
from rich.text import Text

from flowtx.cli.list import listed
from flowtx.cli.options import codec_option, db_option, examples, json_option
from flowtx.cli.printing import print_json, print_pictures
from flowtx.cli.reading import reading
from flowtx.cli.telling import tell
from flowtx_engine.kernel.events import Stopped
from flowtx_engine.runtime.telling import putting


@click.command(epilog=examples('flowtx stop t-1 --reason "the hotel is gone"'))
@click.argument("gid")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is kept with the transaction.")
@db_option
@codec_option
@json_option
def stop(*, gid: str, reason: str, db: str, codec: str | None, as_json: bool) -> None:
    """End the transaction GID by force: nothing is taken back.

    It has failed then, and nothing more is called. For what can never end by itself. What its participants did stays
    done: see `flowtx show GID`.
    """
    with reading(db, codec) as store:
        row = tell(store, gid, putting(Stopped(reason=reason)))
    if as_json:
        print_json(listed(row))
    else:
        print_pictures(Text(f"{gid} has failed: nothing more is called, and nothing is taken back"))
