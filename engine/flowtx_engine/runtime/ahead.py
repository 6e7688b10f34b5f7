"""How far a round that is driven by hand runs ahead of the clock.

The law of this file: what time brings about is one thing, what time gives up is another; a test says each by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowtx_dsl.commands import Command, Sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """Until when deadlines count as due, and until when all other timers do; every attempt is due."""

    deadlines_until_at: float
    sleeps_until_at: float

    def reaches(self, command: Command) -> bool:
        """True for every attempt, and for a timer that is due by then."""
        if not isinstance(command, Sleep):
            return True
        return command.until_at <= (self.deadlines_until_at if command.name == "deadline" else self.sleeps_until_at)
