"""What goes wrong, as a message and an exit code.

The law of this file: nobody sees a traceback for an error that flowtx foresaw, unless ``--debug`` asks for it. One that
appears without it is a bug of flowtx.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

import click

from flowtx.settings import SettingsError
from flowtx_dsl.errors import FlowtxError
from flowtx_engine.journal.errors import JournalError

FAILED = 1
"""The transaction failed or was not found, or the command could not do its work."""
MISUSED = 2
"""The command was called wrongly; click uses the same code."""
NO_DATABASE = 3
"""The database could not be used."""
INTERRUPTED = 130
"""Ctrl-C: 128 and the number of the signal, as shells have it."""


class Misused(click.UsageError):
    """The command was called wrongly: exit code 2, the message as it is, without the lines on usage."""

    def show(self, file: object = None) -> None:
        """Print the message to stderr."""
        click.echo(f"flowtx: {self.message}", err=True)


@contextmanager
def shown_as_messages(*, debug: bool) -> Generator[None]:
    """Turn flowtx's own errors and Ctrl-C into a message on stderr and an exit code."""
    try:
        yield
    except (FlowtxError, KeyboardInterrupt, BaseExceptionGroup) as error:
        told = only_cause(error)
        if isinstance(told, KeyboardInterrupt):
            raise click.exceptions.Exit(INTERRUPTED) from error
        if not isinstance(told, FlowtxError):
            raise
        if debug:
            traceback.print_exception(error)
        else:
            click.echo(f"flowtx: {told}", err=True)
        sys.stdout.flush()
        raise click.exceptions.Exit(exit_code_of(told)) from error


def only_cause(error: BaseException) -> BaseException:
    """The one exception that a nursery wrapped; a group of several stands for itself.

    Ctrl-C speaks for every group it is in: what else failed did so because it was pressed.
    """
    while isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        interrupted = group.subgroup(KeyboardInterrupt)
        if interrupted is not None:
            return KeyboardInterrupt()
        if len(group.exceptions) != 1:
            return group
        error = group.exceptions[0]
    return error


def exit_code_of(error: FlowtxError) -> int:
    """The exit code that says what kind of error it was."""
    match error:
        case JournalError():
            return NO_DATABASE
        case SettingsError():
            return MISUSED
        case _:
            return FAILED
