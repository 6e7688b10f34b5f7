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


def examples(*lines: str) -> str:
    """The end of a command's help: how it is called, a line each, not rewrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
