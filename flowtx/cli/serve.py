"""``flowtx serve``: the server in the foreground, until it is asked to stop."""

from __future__ import annotations

import dataclasses
import logging
from functools import partial
from typing import Any

import click
import trio

from flowtx.cli.loading import load_app, load_codec
from flowtx.cli.logs import set_up_logging
from flowtx.cli.options import examples
from flowtx.cli.reset import reset_store
from flowtx.cli.settings_options import loaded_from, settings_options
from flowtx.cli.signals import watch_signals
from flowtx.config.secrets import shown, without_password
from flowtx.server import serve as serve_until
from flowtx.settings import Settings, is_loopback, names
from flowtx.version import __version__
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.codec import PayloadCodec

log = logging.getLogger("flowtx")


@click.command(
    epilog=examples(
        "flowtx serve",
        "flowtx serve --db sqlite:////var/lib/flowtx/flowtx.db --bind 127.0.0.1:0",
        "flowtx serve --app bank --app shop:workflows",
        "flowtx serve --config flowtx.yml",
        "flowtx serve --test-mode --db memory://",
    ),
)
@settings_options
@click.option(
    "-d", "--debug", "is_debug", is_flag=True, help="Say much on stderr: --log-level debug in DTM's spelling."
)
@click.option("-r", "--reset", "resets", is_flag=True, help="Forget everything that is stored before the start.")
@click.version_option(__version__, "-v", "--version", prog_name="flowtx", message="%(prog)s %(version)s")
@click.pass_context
def serve(ctx: click.Context, /, *, is_debug: bool, resets: bool, **_: Any) -> None:
    """Run the server that speaks the DTM protocol, until SIGTERM or Ctrl-C.

    One line on stdout says when it can be called, and at which address. When it is asked to stop, calls in flight end
    within the grace period; asked again, it leaves at once. Either way nothing is lost: what is unfinished goes on at
    the next start, here or on another machine with the same database.
    """
    loaded = loaded_from(ctx)
    settings = dataclasses.replace(loaded.settings, log_level="debug") if is_debug else loaded.settings
    set_up_logging(level=settings.log_level, form=settings.log_format)
    log.info("settings in force", extra={"settings": {name: shown(name, getattr(settings, name)) for name in names()}})
    for notice in loaded.notices:
        log.warning("configuration: %s", notice)
    workflows = [workflow for app in settings.app for workflow in load_app(app)]
    _warn_if_open(settings.bind)
    if settings.serves_grpc:
        _warn_if_open(settings.grpc_bind)
    codec = load_codec(settings.codec or None)
    if resets:
        reset_store(settings.db)
        log.warning("everything was forgotten that %s held, as --reset asked", without_password(settings.db))
    trio.run(_serve, settings, workflows, codec)


async def _serve(settings: Settings, workflows: list[AnyWorkflow], codec: PayloadCodec | None) -> None:
    asked_to_stop = trio.Event()
    async with trio.open_nursery() as watching:
        await watching.start(partial(watch_signals, asked_to_stop, say=log.info))
        async with trio.open_nursery() as serving:
            grpc_addresses: list[str] = []
            server = partial(
                serve_until,
                settings,
                workflows=workflows,
                codec=codec,
                shutdown=asked_to_stop.wait,
                grpc_started=grpc_addresses.append,
                say_test_mode=_say_test_mode,
            )
            address: str = await serving.start(server)
            places = " and ".join([address, *(f"grpc://{it}" for it in grpc_addresses)])
            click.echo(f"flowtx serves the DTM protocol at {places}, database {without_password(settings.db)}")
        watching.cancel_scope.cancel()


def _say_test_mode(url: str) -> None:
    click.echo(f"flowtx is in test mode: {url} drives its time and empties its database")


def _warn_if_open(bind: str) -> None:
    """There is no authentication yet: say so to whoever lets others in."""
    if not is_loopback(bind):
        log.warning(
            "%s can be reached from other machines, and there is no authentication: whoever reaches it can start and "
            "stop transactions; let only trusted networks reach it, or bind 127.0.0.1",
            bind,
        )
