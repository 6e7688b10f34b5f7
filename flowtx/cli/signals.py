"""SIGTERM and Ctrl-C: the first asks, the second leaves at once.

The law of this file: leaving at once is safe, because a crash is; so nobody has to wait for a participant that hangs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import click
import trio

from flowtx.cli.failures import INTERRUPTED

ONCE_S = 0.5
"""Signals so soon after the first are the same wish: ``timeout`` and process managers tell a process and its group."""


def say_to_person(text: str) -> None:
    """Print a line for whoever sits at the terminal."""
    click.echo(f"flowtx: {text}", err=True)


async def watch_signals(
    asked_to_stop: trio.Event,
    *,
    say: Callable[[str], None] = say_to_person,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Set the event at the first SIGTERM or SIGINT, end the process at the second; started when both are caught."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        await anext(signals)
        asked_to_stop.set()
        say("letting calls in flight end; another Ctrl-C leaves at once")
        asked_at = trio.current_time()
        async for _ in signals:
            if trio.current_time() - asked_at > ONCE_S:
                os._exit(INTERRUPTED)
