"""How the command line prints: tables that fit the terminal, times of the reader's zone, JSON for programs.

The law of this file: what users stored is printed as it is, never read as markup. Without a terminal nothing is cut to
a width, because nobody would see what is missing.
"""

from __future__ import annotations

import io
import os
import sys
from datetime import datetime
from typing import Literal

import click
import msgspec
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 1_000
"""Columns of an output that is not a terminal, unless COLUMNS says otherwise: enough that no table needs to wrap."""

Style = Literal["green", "red", "yellow", "magenta", "cyan", "dim", "bold", ""]

STATUS_STYLES: dict[str, Style] = {"succeed": "green", "failed": "red", "aborting": "magenta", "submitted": "yellow"}


def print_pictures(*pictures: RenderableType) -> None:
    """Print to stdout: in colour and as wide as the terminal, or as plain lines for a file or a pipe."""
    console = Console(highlight=False, soft_wrap=False)
    if console.is_terminal:
        console.print(*pictures, sep="\n")
        return
    width = int(os.environ.get("COLUMNS") or PIPE_WIDTH)
    plain = Console(highlight=False, width=width, file=io.StringIO(), color_system=None)
    with plain.capture() as captured:
        plain.print(*pictures, sep="\n")
    # Tables pad their last column with blanks, which nobody wants in a file.
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def make_table() -> Table:
    """An empty table in the style of all tables."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def print_json(value: object) -> None:
    """A value as JSON: indented for a person at a terminal, on one line for a program."""
    encoded = msgspec.json.encode(value)
    sys.stdout.write((msgspec.json.format(encoded, indent=2) if sys.stdout.isatty() else encoded).decode() + "\n")


def styled_status(status: str) -> Text:
    """A status in its colour."""
    return Text(status, STATUS_STYLES.get(status, ""))


def day_and_time(at: float) -> str:
    """An instant as date and time of this machine's zone, ``2026-11-23 18:45:01``."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def time_of_day(at: float) -> str:
    """An instant as time of the day, to the millisecond."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S.%f")[:-3]


def length(seconds: float) -> str:
    """A length of time in few characters: ``0.034 s``, ``12.3 s``, ``4 min 10 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 10:
        return f"{seconds:.3f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"
