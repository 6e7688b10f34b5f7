"""``flowtx config``: the settings a server would run with, and where each came from."""

from __future__ import annotations

from typing import Any, cast

import click

from flowtx.cli.options import examples, json_option
from flowtx.cli.printing import make_table, print_json, print_pictures
from flowtx.cli.settings_options import loaded_from, settings_options
from flowtx.config.load import Loaded
from flowtx.config.secrets import shown
from flowtx.settings import names


@click.command(epilog=examples("flowtx config", "flowtx config --config flowtx.yml", "flowtx config --json"))
@settings_options
@json_option
@click.pass_context
def config(ctx: click.Context, /, *, as_json: bool, **_: Any) -> None:
    """Show the server's settings, and where each came from.

    Takes the options of `flowtx serve`, and starts nothing: what a server would refuse to start with is refused here in
    the same words. Passwords are not shown.
    """
    loaded = loaded_from(ctx)
    if as_json:
        print_json(_as_data(loaded))
        return
    table = make_table()
    for heading in ("setting", "value", "from"):
        table.add_column(heading)
    for name in names():
        table.add_row(name, _spelled(shown(name, getattr(loaded.settings, name))), loaded.origins[name])
    print_pictures(table)
    for notice in loaded.notices:
        click.echo(f"note: {notice}")


def _as_data(loaded: Loaded) -> dict[str, object]:
    settings = {
        name: {"value": shown(name, getattr(loaded.settings, name)), "from": loaded.origins[name]} for name in names()
    }
    return {"settings": settings, "notices": loaded.notices}


def _spelled(value: Any) -> str:
    return " ".join(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else str(value)
