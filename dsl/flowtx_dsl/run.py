"""Run: what the words of ``tx`` need of the run they are spoken in; the kernel is one.

The law of this file: everything here is deterministic. What would touch the world is handed over as a command.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from flowtx_dsl import structured
from flowtx_dsl.commands import Command, Settling

T = TypeVar("T")


class Run(Protocol):
    """What the words need of the run they are spoken in; the kernel is one."""

    @property
    def gid(self) -> str:
        """The transaction's id."""
        ...

    def now_at(self) -> float:
        """The time of the event that is being worked on, in seconds since the epoch."""
        ...

    def dice(self) -> random.Random:
        """The running task's own generator, seeded by gid and address."""
        ...

    def ask(self, command: Command) -> Awaitable[object]:
        """Something that, awaited, hands the command over and waits for its outcome."""
        ...

    def checkpoint(self) -> Awaitable[None]:
        """Something that, awaited, lets the other tasks run and takes a cancellation that is due."""
        ...

    def open_nursery(self, where: str) -> AbstractAsyncContextManager[structured.Nursery]:
        """A nursery, to be entered."""
        ...

    def open_scope(
        self, *, deadline_at: float = math.inf, after_s: float = math.inf, shield: bool, fails: bool = False, where: str
    ) -> structured.CancelScope:
        """A scope with a deadline at an instant, or so long after its entry; ``fails`` lets it raise at its end."""
        ...

    @property
    def is_prepared(self) -> bool:
        """True until the run counts as submitted."""
        ...

    def submitted(self) -> None:
        """From now on the run counts as submitted."""
        ...

    def take_signal(self, name: str) -> Awaitable[object]:
        """Something that, awaited, waits for the next signal of a name and returns its value as JSON."""
        ...

    def take_update(self, name: str) -> Awaitable[object]:
        """As ``take_signal``, for an update; a pair of its key and its value as JSON."""
        ...

    def answer(self, key: str, value: bytes, error: Exception | None) -> None:
        """Answer an update, with a value as JSON or with the error that refuses it."""
        ...

    def guard(self, name: str, check: Callable[[bytes], None]) -> None:
        """Let ``check`` see the value (JSON) of every update of a name before it is taken; it raises to refuse."""
        ...

    def expose(self, name: str, fn: Callable[..., object]) -> None:
        """Answer queries of a name with a function."""
        ...

    def changed(self, change: str) -> bool:
        """Whether this run had not come here yet when its code was changed."""
        ...

    def open_savepoint(self, where: str) -> AbstractAsyncContextManager[None]:
        """The block of a savepoint."""
        ...

    def restart(self, args: tuple[object, ...]) -> BaseException:
        """What to raise to let the run end here and begin again."""
        ...

    def register(self, command: Settling) -> None:
        """Note what is due when the run ends: a compensation if it fails, a confirmation if it succeeds."""
        ...

    def make_event(self) -> structured.Event:
        """A fresh event."""
        ...

    def open_channel(
        self, max_buffer_size: float, item: type[T]
    ) -> tuple[structured.SendChannel[T], structured.ReceiveChannel[T]]:
        """Both ends of a new channel."""
        ...
