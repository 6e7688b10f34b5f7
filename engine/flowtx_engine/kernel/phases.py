"""Phases: where a run is between its first fact and the last, what it carries there, and where it can go from there.

The law of this file: what exists in one phase only is held by that phase and by nothing else, so it cannot be asked for
too early nor be left over. What ``MOVES`` does not hold cannot happen; whoever tries is told so, and nothing changes.

============ ==================================== ======================================================================
phase        carries                              goes on
============ ==================================== ======================================================================
new          nothing                              Began: running, or delayed when it begins later
delayed      its arguments, when it begins, and   Fired of its start: running. Cancelled: ended, because nothing of its
             whether its limit has room for it    workflow has run
running      the scope that cancelling calls      returns: confirming, held if it is a child, compensating if it was
                                                  cancelled and went on all the same. Raises: compensating. Restarts:
                                                  confirming. What has nothing to settle ends at once
held         its end if it is kept, and whether   Kept: confirming. Cancelled: compensating
             it is written that it has returned
confirming   the end or restart it comes to       all done: ended, or restarting
restarting   the beginning of its next journal    nowhere: that beginning is the end of this journal
compensating the end it comes to                  all taken back: ended
ended        its end, which nobody has written    Ended: over
over         its end                              nowhere
============ ==================================== ======================================================================

Stopped leads from everywhere but new and over to ended: failed, and nothing compensated; also from ended, because that
end was not written yet, and this one was. Once it is confirming, a run has succeeded and cannot be cancelled any more.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from flowtx_engine.kernel import events
from flowtx_engine.kernel.savepoint import Restarting as RestartingError
from flowtx_engine.kernel.tasks import Status

PhaseName = Literal["new", "delayed", "running", "held", "confirming", "restarting", "compensating", "ended"]
"""What others call a phase; to them a run that is over has ended."""


class Phase:
    """One of them."""

    __slots__ = ()

    name: ClassVar[PhaseName]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class New(Phase):
    """Nothing was fed yet."""

    __slots__ = ()
    name = "new"


class Delayed(Phase):
    """Begun, and to run later."""

    __slots__ = ("args", "starts_at", "waits_for_place")
    name = "delayed"

    def __init__(self, args: tuple[object, ...], starts_at: float, *, waits_for_place: bool) -> None:
        self.args = args
        self.starts_at = starts_at
        self.waits_for_place = waits_for_place


class Running(Phase):
    """The workflow's own code runs."""

    __slots__ = ("scope",)
    name = "running"

    def __init__(self, scope: Status) -> None:
        self.scope = scope


class Held(Phase):
    """A child that has returned; ``is_noted`` says that this is written down."""

    __slots__ = ("end", "is_noted")
    name = "held"

    def __init__(self, end: events.Ended) -> None:
        self.end = end
        self.is_noted = False


class Confirming(Phase):
    """What waited for the success of the run is done."""

    __slots__ = ("end",)
    name = "confirming"

    def __init__(self, end: events.Ended | RestartingError) -> None:
        self.end = end


class Restarting(Phase):
    """The run has come to the end of this journal."""

    __slots__ = ("beginning",)
    name = "restarting"

    def __init__(self, beginning: tuple[events.AnyFact, ...]) -> None:
        self.beginning = beginning


class Compensating(Phase):
    """What the run did is taken back."""

    __slots__ = ("end",)
    name = "compensating"

    def __init__(self, end: events.Ended) -> None:
        self.end = end


class Ended(Phase):
    """The run has come to its end."""

    __slots__ = ("end",)
    name = "ended"

    def __init__(self, end: events.Ended) -> None:
        self.end = end


class Over(Ended):
    """The end is written down: nothing more can be fed."""

    __slots__ = ()


MOVES: dict[type[Phase], tuple[type[Phase], ...]] = {
    New: (Running, Delayed),
    Delayed: (Running, Ended),
    Running: (Ended, Confirming, Compensating, Held, Restarting),
    Held: (Ended, Confirming, Compensating),
    Confirming: (Ended, Restarting),
    Restarting: (Ended,),
    Compensating: (Ended,),
    Ended: (Over, Ended),
    Over: (),
}
