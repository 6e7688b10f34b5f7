"""Commands: what workflow code asks for. They are not journaled, because replay asks for them again.

The law of this file: a command is a value, complete when it is made: whoever performs it needs nothing else of the
workflow. The kernel gives it an address; the engine performs it.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowtx_dsl.policies import Retry
from flowtx_dsl.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a target with its arguments already encoded: ``payload`` is a JSON array."""

    target: Target
    payload: bytes

    @property
    def name(self) -> str:
        """What messages and events call it."""
        return self.target.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Perform ``call`` until it has an outcome; ``where`` is the source line that asked."""

    call: Call
    where: str
    retry: Retry
    timeout_s: float | None = None
    compensation: Call | None = None
    compensates_refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensate:
    """Take a step back: as a step, but no refusal ends it. ``result`` is the step's (JSON), None when unknown."""

    call: Call
    where: str
    retry: Retry
    timeout_s: float | None = None
    result: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """Wait until an instant, in seconds since the epoch."""

    until_at: float
    where: str

    @property
    def name(self) -> str:
        """What messages call it."""
        return "sleep"


Command = Step | Compensate | Sleep
