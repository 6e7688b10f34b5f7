"""Faults: what can go wrong in a simulated world, and where.

The law of this file: a schedule is a value. It says at which moments of a run something goes wrong; the same schedule
on the same world gives the same run, so a failure is repeated by writing its schedule down.

A *moment* is a commit of the journal or a call of a participant, numbered from 0 over the whole play, crashes included.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

MomentKind = Literal["commit", "call"]


class Fault(enum.Enum):
    """One thing that goes wrong at a moment."""

    CRASH_BEFORE = "crash before"
    """The process dies before it: nothing is written, nobody is called."""
    CRASH_AFTER = "crash after"
    """The process dies after it: it is durable, or the participant has acted, and nobody here knows."""
    FAIL = "fail"
    """It does not happen and says so: the database refuses the write, the call finds nobody."""
    LOSE_ANSWER = "lose the answer of"
    """It happens, and the answer is lost on the way back."""
    REPEAT = "repeat"
    """A call is delivered twice. (A commit is not: a database does not repeat one by itself.)"""
    STALL = "stall the node during"
    """The node does not beat for so long that others take its work, while the call is still on its way: a zombie."""


FAULTS_OF: Mapping[MomentKind, tuple[Fault, ...]] = {
    "commit": (Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.FAIL, Fault.LOSE_ANSWER),
    "call": tuple(Fault),
}
"""Which faults each kind of moment knows."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """At which moments what goes wrong."""

    faults: Mapping[int, Fault] = field(default_factory=dict[int, Fault])

    def at(self, moment: int) -> Fault | None:
        """The fault of a moment, or None."""
        return self.faults.get(moment)

    def describe(self, moments: Iterable[Moment]) -> str:
        """The schedule in plain words, with what each moment was in the play it broke."""
        names = {moment.number: str(moment) for moment in moments}
        return ", then ".join(
            f"{fault.value} {names.get(number, f'moment {number}')}" for number, fault in sorted(self.faults.items())
        )

    def __repr__(self) -> str:
        faults = ", ".join(f"{number}: Fault.{fault.name}" for number, fault in sorted(self.faults.items()))
        return f"Schedule({{{faults}}})"


NO_FAULTS = Schedule()


@dataclass(frozen=True, slots=True)
class Moment:
    """One commit or call of a play: ``what`` says which."""

    number: int
    kind: MomentKind
    what: str

    def __str__(self) -> str:
        return f"{self.kind} {self.number} ({self.what})"


def single_faults(moments: Iterable[Moment]) -> list[Schedule]:
    """Every schedule of one fault over these moments."""
    return [Schedule({moment.number: fault}) for moment in moments for fault in FAULTS_OF[moment.kind]]
