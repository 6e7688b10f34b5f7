"""``flowtx serve``: the server in the foreground, until it is asked to stop."""

from __future__ import annotations

import dataclasses
import ipaddress
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click
import trio

from flowtx.cli.loading import load_app, load_codec
from flowtx.cli.options import codec_option, examples
from flowtx.cli.signals import watch_signals
from flowtx.server import serve as serve_until
from flowtx.settings import Settings, address_of, doc_of, names, variable_of
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.codec import PayloadCodec

Command = TypeVar("Command", bound=Callable[..., object])


def settings_options(command: Command) -> Command:
    """An option for every setting, in the order of ``Settings``; so no setting can be forgotten here."""
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    for name in reversed(names()):
        option = click.option(
            f"--{name.replace('_', '-')}",
            name,
            type=type(defaults[name]),
            default=defaults[name],
            show_default=True,
            envvar=variable_of(name),
            show_envvar=True,
            metavar={"db": "URL", "bind": "HOST:PORT"}.get(name),
            help=doc_of(name),
        )
        command = option(command)
    return command


@click.command(
    epilog=examples(
        "flowtx serve",
        "flowtx serve --db sqlite:////var/lib/flowtx/flowtx.db --bind 127.0.0.1:0",
        "flowtx serve --app bank --app shop:workflows",
    ),
)
@settings_options
@click.option(
    "--app",
    "apps",
    multiple=True,
    metavar="MODULE[:NAME]",
    envvar="FLOWTX_APP",
    show_envvar=True,
    help="Workflows to recover and run: all of a module, or the one (or the list) of that name. Repeatable.",
)
@codec_option
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    envvar="FLOWTX_LOG_LEVEL",
    show_envvar=True,
    help="How much to say on stderr.",
)
def serve(*, apps: tuple[str, ...], codec: str | None, log_level: str, **settings: Any) -> None:
    """Run the server that speaks the DTM protocol, until SIGTERM or Ctrl-C.

    One line on stdout says when it can be called, and at which address. When it is asked to stop, calls in flight end
    within the grace period; asked again, it leaves at once. Either way nothing is lost: what is unfinished goes on at
    the next start, here or on another machine with the same database.
    """
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    made = Settings(**settings)
    workflows = [workflow for app in apps for workflow in load_app(app)]
    _warn_if_open(made.bind)
    trio.run(_serve, made, workflows, load_codec(codec))


async def _serve(settings: Settings, workflows: list[AnyWorkflow], codec: PayloadCodec | None) -> None:
    asked_to_stop = trio.Event()
    async with trio.open_nursery() as watching:
        await watching.start(watch_signals, asked_to_stop)
        async with trio.open_nursery() as serving:
            server = partial(serve_until, settings, workflows=workflows, codec=codec, shutdown=asked_to_stop.wait)
            address: str = await serving.start(server)
            click.echo(f"flowtx serves the DTM protocol at {address}, database {without_password(settings.db)}")
        watching.cancel_scope.cancel()


def without_password(url: str) -> str:
    """A database's URL, fit to be shown."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def _warn_if_open(bind: str) -> None:
    """There is no authentication yet: say so to whoever lets others in."""
    host, _ = address_of(bind)
    if not _is_loopback(host):
        click.echo(
            f"flowtx: warning: {bind} can be reached from other machines, and there is no authentication: whoever "
            "reaches it can start and stop transactions\n  -> Let only trusted networks reach it, or bind 127.0.0.1.",
            err=True,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
