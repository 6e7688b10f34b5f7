"""Crashing one transaction everywhere: the shortest way to a proof, for a workflow and its input.

The law of this file: every play begins with the same books, and a client that repeats its call until it has an answer,
as every client must. More than that (signals from outside, several nodes, a network) is a ``World`` of one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, TypeVarTuple

import trio

from flowtx.testing.faults import Schedule
from flowtx.testing.prove import Proof, single_faults_everywhere
from flowtx.testing.world import World
from flowtx_dsl.errors import TransactionFailed
from flowtx_dsl.targets import OfWorkflow
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import AnyWorkflow, must_be_workflow
from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.journal.pieces import PIECE_BYTES
from flowtx_engine.runtime.engine import Engine

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

GID = "t"
PAUSE_S = 1.0
YEAR_S = 366 * 86_400.0
"""A play that takes longer, in its own time, hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one play ended: the workflow's ``result``, or the ``error`` that its client got; ``world`` has the journals.

    ``schedule`` says what went wrong on the way.
    """

    result: Any
    error: TransactionFailed | None
    schedule: Schedule
    world: World

    @property
    def is_kept(self) -> bool:
        """True when the transaction succeeded, False when it was taken back."""
        return self.error is None


def crash_everywhere(
    workflow: Callable[[Tx, *Ts], OfWorkflow[T]],
    *args: *Ts,
    before: Callable[[], object],
    check: Callable[[Ending], object],
    workflows: Iterable[AnyWorkflow] = (),
    piece_bytes: int = PIECE_BYTES,
) -> Proof:
    """Run a transaction without faults, then once with every single fault at every moment of it.

    ``before`` puts the books of its steps back to where every play begins, ``check`` looks at them when a play has
    ended; at the end of every play all transactions have ended and all journals have been replayed. Faults are crashes
    and failures before and after each commit and each call, lost answers, repeated calls and stalled nodes. The gid
    is "t". ``workflows`` are those that it begins itself. Time jumps: a month takes milliseconds. Payloads of more than
    ``piece_bytes`` are kept in pieces, each with a commit of its own to be struck.

    Raises ``NotProved``, which names the fault that was not survived.
    """
    known = must_be_workflow(workflow, "crash_everywhere")

    def make_world(schedule: Schedule) -> World:
        before()
        return _World([known, *workflows], schedule=schedule, play_max_s=YEAR_S, piece_bytes=piece_bytes)

    async def scenario(engine: Engine) -> tuple[object, TransactionFailed | None]:
        while True:
            try:
                return await engine.run(workflow, *args, gid=GID), None
            except TransactionFailed as failed:
                return None, failed
            except JournalUnavailable:  # nobody knows whether it was begun; the gid makes it safe to ask again
                await trio.sleep(PAUSE_S)

    def check_world(world: World) -> None:
        assert isinstance(world, _World), world
        unfinished = world.unfinished()
        assert not unfinished, f"not ended: {unfinished}"
        result, error = world.answer
        check(Ending(result=result, error=error, schedule=world.schedule, world=world))

    return single_faults_everywhere(make_world, scenario, check=check_world)


class _World(World):
    """A world that keeps what the client was told."""

    answer: tuple[object, TransactionFailed | None] = (None, None)

    async def play(self, scenario: Any) -> Any:
        """Play it and keep the answer."""
        self.answer = await super().play(scenario)
        return self.answer
