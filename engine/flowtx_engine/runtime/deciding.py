"""Deciding: what a person says of a step that may be made once only, when nobody else knows what became of it. Pure.

The law of this file: nobody decides what is not in doubt, and a decision that the run could not take is refused here,
as far as its code is at hand.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flowtx_dsl.errors import FlowtxError, WorkflowError
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import Decided, Doubted, Event, Verdict
from flowtx_engine.kernel.outcomes import check_decided
from flowtx_engine.runtime.outside import Decide, Told
from flowtx_engine.runtime.registry import Registry
from flowtx_engine.runtime.replay import replayed
from flowtx_engine.runtime.telling import AlreadyFinal


class NotInDoubt(FlowtxError):
    """The step does not wait for a person's decision."""

    remedy = "See what the transaction waits for: flowtx show GID."


def deciding(address: str, verdict: Verdict, *, value: bytes, reason: str, registry: Registry) -> Decide:
    """``decided``, for an engine that has loaded these workflows; raises ``AlreadyFinal``, too."""

    def decide(row: Transaction, events: list[Event]) -> Told:
        if row.is_final:
            raise AlreadyFinal(row.gid, row.status)
        is_loaded = (row.workflow, row.version) in registry.keys
        workflow = registry.find(row.workflow, row.version) if is_loaded else None
        return decided(row, events, address, verdict, value=value, reason=reason, workflow=workflow)

    return decide


def decided(
    row: Transaction,
    events: Sequence[Event],
    address: str,
    verdict: Verdict,
    *,
    value: bytes = b"null",
    reason: str = "",
    workflow: AnyWorkflow | None = None,
) -> Told:
    """What to tell a run; ``value`` is the step's result as JSON. ``workflow``, its code, lets more be checked.

    Raises ``NotInDoubt``, ``PayloadError`` when the step cannot have that result, and ``WorkflowError`` when the step
    would be made again for a run that has given it up.
    """
    doubt = _doubt_at(row.gid, events, address)
    if value != b"null" and verdict != "succeeded":
        raise WorkflowError(f"a step that is decided as {verdict!r} has no result", remedy="Leave the value out.")
    if workflow is not None:
        _check(workflow, row, events, address, verdict, value)
    fact = Decided(call=doubt.call, verdict=verdict, value=msgspec.Raw(value), reason=reason, attempt=doubt.attempt)
    return Told(facts=(fact,), address=address)


def _doubt_at(gid: str, events: Sequence[Event], address: str) -> Doubted:
    """The doubt that stands at an address; a decision whose value did not fit leaves it standing."""
    facts = [event.fact for event in events if event.address == address]
    doubts = [fact for fact in facts if isinstance(fact, Doubted)]
    stands = bool(doubts) and isinstance(facts[-1], Doubted | Decided)
    if not stands:
        others = sorted({event.address for event in events if isinstance(event.fact, Doubted)})
        told = f"; doubts were noted at {', '.join(others)}" if others else ""
        raise NotInDoubt(f"transaction {gid}: no step is in doubt at {address!r}{told}")
    return doubts[-1]


def _check(
    workflow: AnyWorkflow, row: Transaction, events: Sequence[Event], address: str, verdict: Verdict, value: bytes
) -> None:
    kernel = replayed(workflow, row.input, events, gid=row.gid)
    try:
        asked = kernel.asked(address)
        if asked is None or not asked.is_in_doubt:
            raise NotInDoubt(f"transaction {row.gid}: no step is in doubt at {address!r}")
        if verdict == "succeeded":
            check_decided(asked, value)
        if verdict == "retry" and not kernel.awaits(address):
            raise WorkflowError(
                f"transaction {row.gid} has given up the step at {address}: nobody waits for its result",
                remedy="Say whether it has happened: succeeded or refused.",
            )
    finally:
        kernel.close()
