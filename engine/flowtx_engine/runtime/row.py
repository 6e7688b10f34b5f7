"""The row of a transaction, derived from its kernel: which columns an append must change.

The law of this file: an ordinary step changes no row. A row is touched when its status, owner, wake-up or last error
changes, in the same database transaction as the events that led to it, and never otherwise.
"""

from __future__ import annotations

import msgspec

from flowtx_engine.journal.records import RowChange, Transaction
from flowtx_engine.kernel.events import Attempted, Ended, Event, Failed, Fired, Refused, Returned, Succeeded
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import name_of
from flowtx_engine.runtime.history import reason_of

_encoder = msgspec.json.Encoder()


def change_of(
    row: Transaction, kernel: Kernel, events: list[Event], *, next_due_at: float | None, owner: str
) -> RowChange | None:
    """What these events change in the row; None when nothing.

    ``next_due_at`` is when the run's next timer or attempt is due; ``owner`` is who drives it from now on ("": it is
    parked until then).
    """
    updated_at = events[-1].at
    if kernel.ended is not None:
        return ended_change(kernel.ended, updated_at)
    if kernel.beginning:
        return RowChange(updated_at=updated_at, owner="", wake_at=updated_at, attempt_count=0, last_error="")
    wanted: dict[str, object] = {}
    status = kernel.status if kernel.phase != "new" else row.status
    if status != row.status:
        wanted |= {"status": status, "reason": reason_of(kernel.cause)}
    for event in events:
        match event.fact:
            case Attempted() as fact:
                wanted |= {
                    "attempt_count": fact.fault_count,
                    "last_error": reason_of(fact.error),
                    "wake_at": fact.retry_at,
                }
            case Returned() as fact:
                wanted["result"] = bytes(fact.value)
            case Succeeded() | Refused() | Failed() | Fired() if row.attempt_count or row.last_error:
                wanted |= {"attempt_count": 0, "last_error": "", "wake_at": event.at}
            case _:
                pass
    wanted |= _doubts(row, kernel)
    if owner != row.owner:
        wanted |= {"owner": owner, "wake_at": updated_at if owner else next_due_at}
    if all(getattr(row, name) == value for name, value in wanted.items()):
        return None
    return msgspec.structs.replace(RowChange(updated_at=updated_at), **wanted)


def _doubts(row: Transaction, kernel: Kernel) -> dict[str, object]:
    """What the row says while a person must decide, and that it says so no longer when nobody must."""
    undecided = kernel.undecided
    if not undecided:
        return {"needs_decision": False, "last_error": ""} if row.needs_decision else {}
    told = "; ".join(f"{name_of(asked.command)} at {asked.address}: {reason_of(asked.error)}" for asked in undecided)
    return {"needs_decision": True, "last_error": f"needs a decision: {told}"}


def ended_change(ended: Ended, at: float) -> RowChange:
    """What the end of a run changes in its row: it belongs to nobody, and nothing is due any more."""
    result = bytes(ended.value) if ended.status == "succeed" else _encoder.encode(ended.error)
    return RowChange(
        updated_at=at,
        status=ended.status,
        owner="",
        wake_at=None,
        attempt_count=0,
        last_error="",
        needs_decision=False,
        result=result,
        reason=reason_of(ended.error),
        finished_at=at,
    )
