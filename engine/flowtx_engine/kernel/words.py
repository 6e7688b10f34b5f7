"""Words: what a workflow can say to its run; the ``Run`` behind its ``Tx``.

The law of this file: a word is spoken by the task that runs and by nobody else, and it never waits. What it asks for,
the task that awaits it hands to the loop.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from flowtx_dsl import structured
from flowtx_dsl.commands import Command, Confirm, Settling
from flowtx_dsl.errors import WorkflowError
from flowtx_engine.kernel.beginnings import heard_until
from flowtx_engine.kernel.channels import Buffer, ReceiveEnd, SendEnd
from flowtx_engine.kernel.dialogue import Dialogue
from flowtx_engine.kernel.events import AnyFact, Changed, Event
from flowtx_engine.kernel.loop import Loop
from flowtx_engine.kernel.nurseries import NurseryBlock
from flowtx_engine.kernel.scopes import Scope
from flowtx_engine.kernel.settling import Registered
from flowtx_engine.kernel.tasks import Ask
from flowtx_engine.kernel.waits import HappensOnce, checkpoint

T = TypeVar("T")


class Words(Loop):
    """The part of a run that its workflow speaks to."""

    __slots__ = ("_changes", "_dialogue", "_live_from", "_seed", "_unnoted", "is_prepared")

    def __init__(self, gid: str, recorded: Sequence[Event]) -> None:
        super().__init__(gid)
        self.is_prepared = False
        self._seed = gid  # of the dice
        self._dialogue: Dialogue | None = None
        self._live_from = 0
        self._changes: dict[str, bool] = {}
        if recorded:
            self._live_from = heard_until(recorded)
            self._changes = {event.fact.change: True for event in recorded if isinstance(event.fact, Changed)}
        self._unnoted: list[Changed] = []  # what the code was told of its changes and nobody has written down yet

    # -- time, chance and the code itself

    def dice(self) -> random.Random:
        """The running task's generator."""
        return self.speaking().dice(self._seed)

    def changed(self, change: str) -> bool:
        """Whether this run had not come here yet when its code was changed; the answer is kept in the journal."""
        self.speaking()
        known = self._changes.get(change)
        if known is None:
            known = self._changes[change] = self._seq > self._live_from
            if known:
                self._unnoted.append(Changed(change=change))
        return known

    def _take_changed(self, fact: Changed) -> None:
        if fact in self._unnoted:
            self._unnoted.remove(fact)

    def submitted(self) -> None:
        """The run is no longer only prepared."""
        self.speaking()
        self.is_prepared = False

    # -- commands

    def ask(self, command: Command) -> Awaitable[object]:
        """Hand a command over."""
        self.speaking()
        return Ask(command)

    def register(self, command: Settling) -> None:
        """Note what is due when the run ends; it takes a number like everything that is asked for."""
        address = self.speaking().next_address()
        self._registered[address] = Registered(address, command)
        self._confirms = self._confirms or isinstance(command, Confirm)

    # -- what trio has, too

    def checkpoint(self) -> Awaitable[None]:
        """Let others run."""
        return checkpoint(self)

    def open_nursery(self, where: str) -> AbstractAsyncContextManager[structured.Nursery]:
        """The block of a nursery."""
        self.speaking()
        return NurseryBlock(self, where)

    def open_scope(
        self, *, deadline_at: float = math.inf, after_s: float = math.inf, shield: bool, fails: bool = False, where: str
    ) -> structured.CancelScope:
        """A scope, to be entered."""
        self.speaking()
        return Scope(self, deadline_at=deadline_at, after_s=after_s, shield=shield, fails=fails, where=where)

    def make_event(self) -> structured.Event:
        """An event."""
        self.speaking()
        return HappensOnce(self)

    def open_channel(
        self, max_buffer_size: float, item: type[T]
    ) -> tuple[structured.SendChannel[T], structured.ReceiveChannel[T]]:
        """Both ends of a channel."""
        self.speaking()
        if max_buffer_size != math.inf and not (isinstance(max_buffer_size, int) and max_buffer_size >= 0):
            raise WorkflowError(
                f"tx.open_memory_channel({max_buffer_size!r}): expected a whole number of at least zero, or math.inf"
            )
        buffer = Buffer[T](self, max_buffer_size)
        return SendEnd(buffer), ReceiveEnd(buffer)

    # -- what is said to those outside, and by them

    @property
    def dialogue(self) -> Dialogue:
        """What this run and those outside say to each other."""
        if self._dialogue is None:
            self._dialogue = Dialogue(self)
        return self._dialogue

    def has_heard(self, fact: AnyFact) -> bool:
        """True for what came already under the same key: feeding it again would be once too many."""
        return self._dialogue is not None and self._dialogue.has_heard(fact)

    @property
    def answered_count(self) -> int:
        """How many updates the run has answered."""
        return 0 if self._dialogue is None else len(self._dialogue.answers)

    def take_signal(self, name: str) -> Awaitable[object]:
        """The next signal of a name."""
        self.speaking()
        return self.dialogue.signals(name).take()

    def take_update(self, name: str) -> Awaitable[object]:
        """The next update of a name, with its key."""
        self.speaking()
        return self.dialogue.updates(name).take()

    def answer(self, key: str, value: bytes, error: Exception | None) -> None:
        """Answer an update."""
        self.dialogue.answer(key, value, error)

    def guard(self, name: str, check: Callable[[bytes], None]) -> None:
        """Check updates of a name before they are taken."""
        self.speaking()
        self.dialogue.guard(name, check)

    def expose(self, name: str, fn: Callable[..., object]) -> None:
        """Answer queries of a name."""
        self.speaking()
        self.dialogue.expose(name, fn)
