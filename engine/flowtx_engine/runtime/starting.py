"""Starting: when a run begins, and its first write. Pure.

The law of this file: a run that begins later is a row of nobody and one event, both written now. Nothing of it is in
memory until its time has come, and whoever asks for the same gid again gets the run that is there, at its own time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from flowtx_dsl.errors import GidTaken, WorkflowError
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.records import NewPlace, NewTransaction, Transaction, Write, row_of_new
from flowtx_engine.kernel.events import Began, Event
from flowtx_engine.runtime.history import row_of

GID_MAX = 128
"""The longest gid, in characters: DTM's own SQL stores hold no more (spec 1)."""


STARTS_AT_MAX = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
"""A run cannot begin later than Python's datetimes reach, because ``tx.now()`` is one."""


def check_gid(gid: str) -> None:
    """Raises ``WorkflowError`` for what no journal could hold as a gid."""
    if not 0 < len(gid) <= GID_MAX or "\0" in gid:
        raise WorkflowError(
            f"a gid has 1 to {GID_MAX} characters, got {len(gid)}", remedy="Use a shorter, non-empty gid."
        )


def check_same(row: Transaction, workflow: AnyWorkflow, payload: bytes) -> None:
    """Raises ``GidTaken`` unless this is the run that would be begun again; when it begins does not count."""
    if (row.workflow, row.input) != (workflow.name, payload):
        what = "another input" if row.workflow == workflow.name else f"workflow {row.workflow}"
        raise GidTaken(f"gid {row.gid} was begun with {what}, status {row.status}")


def starts_at_of(at: datetime | None, delay_s: float | None, *, now_at: float) -> float | None:
    """The instant a run shall begin at, in seconds since the epoch; None for now, and for what is past already.

    Raises ``WorkflowError`` for both at once, an ``at`` without a time zone, and a ``delay_s`` that is no length.
    """
    if at is not None and delay_s is not None:
        raise WorkflowError(f"at={at!r} and delay_s={delay_s!r} were both given, and a run starts once")
    if delay_s is not None:
        if not 0 <= delay_s < math.inf:  # refuses NaN, too
            raise WorkflowError(f"delay_s={delay_s!r}: expected a finite number of seconds, at least zero")
        return _checked(now_at + delay_s) if delay_s > 0 else None
    if at is None:
        return None
    if at.tzinfo is None:
        raise WorkflowError(
            f"at={at!r} has no time zone, so it names no instant",
            remedy="Pass datetime.now(UTC) + timedelta(...), or give it a tzinfo.",
        )
    instant = at.timestamp()
    return _checked(instant) if instant > now_at else None


def _checked(instant: float) -> float:
    if instant > STARTS_AT_MAX:
        raise WorkflowError("a run cannot begin after the year 9998")
    return instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """How a run begins: its first fact, when it is due, and the place it waits for; ``is_now``: whoever asks drives."""

    began: Began
    is_now: bool
    wake_at: float | None
    place: NewPlace | None


def beginning_of(workflow: AnyWorkflow, payload: bytes, *, now_at: float, starts_at: float | None) -> Beginning:
    """How a run of this workflow begins; raises ``WorkflowError`` when its limit has no key for the input.

    A run that waits for a place is due at no time: being admitted makes it so.
    """
    name, version = workflow.name, workflow.version
    if workflow.limit is None:
        began = Began(workflow=name, version=version, starts_at=starts_at)
        wake_at = now_at if starts_at is None else starts_at
        return Beginning(began=began, is_now=starts_at is None, wake_at=wake_at, place=None)
    key = workflow.limit.key_of(workflow.signature.decode_args(payload), what=f"workflow {name}")
    due_at = now_at if starts_at is None else starts_at
    return Beginning(
        began=Began(workflow=name, version=version, starts_at=due_at, place=key),
        is_now=False,
        wake_at=None,
        place=NewPlace(key=key, due_at=due_at),
    )


def first_write(
    payload: bytes,
    *,
    gid: str,
    pattern: str,
    options: bytes,
    began: Began,
    owner: str,
    wake_at: float | None,
    now_at: float,
    place: NewPlace | None = None,
    begun_by: str = "",
) -> tuple[Write, Transaction, Event]:
    """What begins a run in the journal; with its row (the id is the database's to give) and its first event.

    ``owner`` drives it from now on; "" is nobody, until ``wake_at`` or until it is told something.
    """
    first = Event(seq=0, at=now_at, address="", fact=began)
    new = NewTransaction(
        pattern=pattern,
        workflow=began.workflow,
        version=began.version,
        status="prepared" if began.is_prepared else "submitted",
        owner=owner,
        wake_at=wake_at,
        input=payload,
        options=options,
        created_at=now_at,
        place=place,
        begun_by=begun_by,
    )
    return Write(gid=gid, rows=(row_of(gid, first),), change=new), row_of_new(0, gid, new), first
