"""Calls on their way: how one is made, what it brought, and what becomes of it when nobody waits for it any more.

The law of this file: a call that was begun is cut short only if that hides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import trio

from flowtx_dsl.commands import Sleep, Step
from flowtx_dsl.targets import FunctionTarget
from flowtx_engine.calls.attempt import Attempt, Outcome, Performer
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.tasks import Asked
from flowtx_engine.runtime.happened import Bell
from flowtx_engine.runtime.judge import check_of
from flowtx_engine.runtime.tools import Tools


class Flights:
    """The calls of one run that are on their way, by address, and the outcomes that nobody has taken yet."""

    def __init__(self, tools: Tools, bell: Bell) -> None:
        """The ``bell`` is rung when a call has ended."""
        self._tools = tools
        self._bell = bell
        self._flights: dict[str, Flight] = {}
        self._outcomes: list[tuple[str, Outcome]] = []

    def __len__(self) -> int:
        return len(self._flights)

    def __iter__(self) -> Iterator[str]:
        return iter(self._flights)

    def __contains__(self, address: object) -> bool:
        return address in self._flights

    @property
    def has_outcomes(self) -> bool:
        """True when a call has ended and nobody has taken its outcome."""
        return bool(self._outcomes)

    @property
    def begun(self) -> list[str]:
        """The addresses of what is on its way or has an outcome: nobody else may begin it."""
        return [*self._flights, *(address for address, _ in self._outcomes)]

    def start(
        self, nursery: trio.Nursery, row: Transaction, asked: Asked, *, round: int, may_have_happened: bool
    ) -> None:
        """Let a call go; ``round`` is the seq its run's journal begins at."""
        assert not isinstance(asked.command, Sleep), asked
        attempt = Attempt(
            gid=row.gid, address=asked.address, number=asked.attempt_count + 1, command=asked.command, round=round
        )
        flight = self._flights[asked.address] = Flight(asked)
        nursery.start_soon(self._fly, row, attempt, flight.scope, may_have_happened or attempt.number > 1)

    async def _fly(self, row: Transaction, attempt: Attempt, scope: trio.CancelScope, may_have_happened: bool) -> None:
        try:
            with scope:
                made = perform(self._tools.performer, attempt, may_have_happened=may_have_happened)
                outcome = await self._tools.observers.watched(made, row, attempt)
                self._outcomes.append((attempt.address, outcome))
        finally:
            del self._flights[attempt.address]
            self._bell.ring()

    def take_outcomes(self) -> list[tuple[str, Outcome]]:
        """What the calls brought since this was last asked, in the order they ended."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def give_up(self, address: str) -> None:
        """Nobody waits for what is asked at an address, should it be on its way."""
        flight = self._flights.get(address)
        if flight is not None:
            flight.give_up()


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
