"""Options that several commands share: one spelling, one help, one environment variable each."""

from __future__ import annotations

import click

DEFAULT_DB = "sqlite:///flowtx.db"

db_option = click.option(
    "--db",
    "db",
    metavar="URL",
    default=DEFAULT_DB,
    show_default=True,
    envvar="FLOWTX_DB",
    show_envvar=True,
    help="The database with the journal.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


codec_option = click.option(
    "--codec",
    "codec",
    metavar="MODULE:NAME",
    envvar="FLOWTX_CODEC",
    show_envvar=True,
    help="The codec that payloads in the database are written with: an object, or what makes one when it is called.",
)

input_option = click.option(
    "--input",
    "input_",
    metavar="JSON",
    help="The argument; an array or an object by names when there are several. @FILE reads a file, - reads stdin.",
)

gid_option = click.option("--gid", default="", help="The transaction's id. Left out, one is made and told.")

at_option = click.option(
    "--at",
    metavar="INSTANT",
    help="Begin then: 2026-12-24T18:00 in this machine's zone, or with an offset.",
)

delay_option = click.option("--delay", metavar="LENGTH", help="Begin so much later: 90s, 10min, 2h or 3d.")


def examples(*lines: str) -> str:
    """The end of a command's help: how it is called, a line each, not rewrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
