"""A call on its way: what it is, how it is made, and what becomes of it when nobody waits for it any more.

The law of this file: a call that was begun is cut short only if that hides nothing.
"""

from __future__ import annotations

import msgspec
import trio

from flowtx_dsl.commands import Step
from flowtx_dsl.targets import FunctionTarget
from flowtx_engine.calls.attempt import Attempt, Outcome, Performer
from flowtx_engine.kernel.tasks import Asked
from flowtx_engine.runtime.judge import check_of


class Flight:
    """A call on its way."""

    __slots__ = ("_asked", "scope")

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.scope = trio.CancelScope()

    def give_up(self) -> None:
        """Nobody waits for it any more: cut it short, unless that would only hide what happens.

        A remote participant goes on when one hangs up. If its step can be taken back, the call is let end, within its
        timeout, so that the compensation does not overtake it (spec 12.19). So is one that may be made once only:
        cut short, nobody would know whether it happened.
        """
        command = self._asked.command
        may_be_cut = not isinstance(command, Step) or command.compensation is None or _is_local(command)
        if may_be_cut and not self._asked.is_once:
            self.scope.cancel()


def _is_local(step: Step) -> bool:
    return isinstance(step.call.target, FunctionTarget)


async def perform(performer: Performer, attempt: Attempt, *, may_have_happened: bool) -> Outcome:
    """Make an attempt; when the step may have happened already and can be asked about, ask first."""
    command = attempt.command
    if isinstance(command, Step) and command.check is not None and may_have_happened:
        told = await performer.perform(msgspec.structs.replace(attempt, command=check_of(command)))
        if told.kind != "refused":  # it has happened, or nobody can say
            return told
    return await performer.perform(attempt)
