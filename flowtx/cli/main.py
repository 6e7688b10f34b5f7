"""The command ``flowtx``: finds the file of a command when it is asked for, and turns errors into messages.

The law of this file: nothing heavy is imported to show help. A command's module, and with it the engine, the database
and the server, is loaded when that command runs.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import click
from click.exceptions import NoSuchCommand

from flowtx.cli.failures import shown_as_messages
from flowtx.version import __version__


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is not loaded yet: where it is, and what it does in a line."""

    path: str
    summary: str


COMMANDS: Mapping[str, Lazy] = MappingProxyType(
    {
        "serve": Lazy("flowtx.cli.serve:serve", "Run the server that speaks the DTM protocol."),
        "run": Lazy("flowtx.cli.run:run", "Run one transaction of a Python workflow to its end."),
        "start": Lazy("flowtx.cli.start:start", "Store one transaction, for a server to begin now or later."),
        "schedule": Lazy("flowtx.cli.schedule:schedule", "Start workflows again and again, by the clock."),
        "list": Lazy("flowtx.cli.list:list_", "List transactions, newest first."),
        "show": Lazy("flowtx.cli.show:show", "Show the transaction GID and its journal."),
        "signal": Lazy("flowtx.cli.signal:signal", "Send the signal NAME to the transaction GID."),
        "cancel": Lazy("flowtx.cli.cancel:cancel", "Cancel the transaction GID: it takes back what it did."),
        "stop": Lazy(
            "flowtx.cli.stop:stop",
            "End the transaction GID by force: nothing is taken back.",
        ),
        "decide": Lazy("flowtx.cli.decide:decide", "Say what became of a step of GID that may be made once only."),
        "lint": Lazy("flowtx.cli.lint:lint", "Find in Python files what breaks the replay of their workflows."),
        "config": Lazy("flowtx.cli.config:config", "Show the server's settings, and where each came from."),
        "db": Lazy("flowtx.cli.db:db", "Look after the database: its schema and what it holds."),
    }
)

EPILOG = """\
Exit codes: 0 it went well; 1 the transaction failed or was not found, or the command could not do its work; 2 it was
called wrongly; 3 the database could not be used; 130 it was interrupted with Ctrl-C.
"""


class Commands(click.Group):
    """The commands of the table, each loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command, or None when there is none of this name."""
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        module, _, name = lazy.path.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command), lazy
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but a misspelt name is answered with the nearest one without loading any."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, as help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; what goes wrong becomes a message and an exit code."""
        with shown_as_messages(debug=bool(ctx.params["debug"])):
            return super().invoke(ctx)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="flowtx", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, envvar="FLOWTX_DEBUG", help="Show the whole traceback of an error.")
def main(*, debug: bool) -> None:
    """Distributed transactions as Python coroutines.

    Every step is journaled in SQL, a crash costs nothing but a replay, and what cannot be finished is taken back.
    """


if __name__ == "__main__":
    main()
