"""Beginnings: where a history begins, how far it was heard, and how a run ends one to begin the next. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from flowtx_engine.kernel.dialogue import Dialogue
from flowtx_engine.kernel.events import AnyFact, Began, Event, FromOutside
from flowtx_engine.kernel.savepoint import Restarting
from flowtx_engine.kernel.tasks import split_cancelled


def fresh_journal(workflow: str, version: str, payload: bytes, dialogue: Dialogue | None) -> tuple[AnyFact, ...]:
    """What the journal of a run that begins again begins with: its new input, and what came and nobody has taken."""
    heard, answered, left = ((), {}, ()) if dialogue is None else dialogue.carry_over()
    began = Began(workflow=workflow, version=version, input=msgspec.Raw(payload), heard=heard, answered=answered)
    return (began, *left)


def begins_again(fact: AnyFact) -> bool:
    """True for the beginning of a run's second or later journal, which does not stand at seq 0."""
    return isinstance(fact, Began) and bytes(fact.input) != b"null"


def restarting(error: BaseException | None) -> Restarting | None:
    """The restart in what a workflow raised, if nothing but restarts and what they cancelled is in it."""
    if error is None:
        return None
    _, rest = split_cancelled(error)
    while isinstance(rest, BaseExceptionGroup):
        restarts, others = cast("BaseExceptionGroup[BaseException]", rest).split(Restarting)
        rest = None if others is not None or restarts is None else restarts.exceptions[0]
    return rest if isinstance(rest, Restarting) else None


def heard_until(recorded: Sequence[Event]) -> int:
    """The seq from which on a history holds only what was written past the driver: the run may not have seen it."""
    for event in reversed(recorded):
        if not (isinstance(event.fact, FromOutside) and event.fact.is_unheard):
            return event.seq + 1
    return 0
