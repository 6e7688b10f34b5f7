"""Flights: calls that are on their way to a participant."""

from __future__ import annotations

import trio

from flowtx_dsl.commands import Step
from flowtx_dsl.targets import FunctionTarget
from flowtx_engine.kernel.tasks import Asked


class Flight:
    """A call on its way."""

    __slots__ = ("_asked", "scope")

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.scope = trio.CancelScope()

    def give_up(self) -> None:
        """Nobody waits for it any more: cut it short, unless that would only hide what happens.

        A remote participant goes on when one hangs up. If its step can be taken back, the call is let end, within its
        timeout, so that the compensation does not overtake it (spec 12.19).
        """
        command = self._asked.command
        if not isinstance(command, Step) or command.compensation is None or _is_local(command):
            self.scope.cancel()


def _is_local(step: Step) -> bool:
    return isinstance(step.call.target, FunctionTarget)
