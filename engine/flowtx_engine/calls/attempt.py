"""An attempt at a step, and its outcome: the border between the runtime and whatever performs calls.

The law of this file: an attempt has exactly one outcome. ``unknown`` is one of the four, and the honest one whenever
nobody can tell whether the participant acted.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from flowtx_dsl.commands import Check, Compensate, Confirm, Performed

Op = Literal["action", "compensate", "confirm"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try at a step or at what settles it; ``number`` counts from 1.

    ``round`` tells apart the journals of a run that began again, where the same addresses come again; 0 is the first.
    """

    gid: str
    address: str
    number: int
    command: Performed | Check
    round: int = 0

    @property
    def op(self) -> Op:
        """What is asked of the participant."""
        match self.command:
            case Compensate():
                return "compensate"
            case Confirm(step=step) if step is not None:
                return "confirm"
            case _:
                return "action"

    @property
    def step_place(self) -> str:
        """The place of the step, also for what settles it; no other step of the run ever has it."""
        return self._unique(self.address.removesuffix("/c").removesuffix("/m"))

    @property
    def key(self) -> str:
        """The idempotency key: the same at every attempt, different for a step and its compensation."""
        return self.command.key or f"{self.gid}/{self._unique(self.address)}"

    def _unique(self, address: str) -> str:
        return f"{self.round}.{address}" if self.round else address


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an attempt: ``value`` (JSON) when it succeeded, else the ``error`` that says why."""

    kind: Literal["succeeded", "refused", "ongoing", "unknown"]
    value: bytes = b"null"
    error: Exception | None = None


class Performer(Protocol):
    """Whatever performs attempts: the real one, or a simulated world's."""

    async def perform(self, attempt: Attempt) -> Outcome:
        """Make one attempt; never raises but when it is cancelled."""
        ...
