"""What a journal keeps, as values: transactions (one row each) and journal rows (append only).

The law of this file: every write states what it expects to find. A write names the seq of its first journal row; the
primary key (gid, seq) is the fence, so whoever comes second gets ``ConflictError`` and changes nothing at all.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["prepared", "submitted", "aborting", "succeed", "failed"]
"""DTM's five words (spec 1, 4.1); ``succeed`` and ``failed`` are final."""

FINAL: frozenset[str] = frozenset({"succeed", "failed"})


PayloadField = Literal["input", "options", "result", "reason", "last_error", "data"]
"""Where a payload stands: a column of the transaction's row, or the ``data`` of an event."""


class JournalRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event as stored: ``data`` is the fact as JSON, ``at`` seconds since the epoch."""

    gid: str
    seq: int
    kind: str
    address: str
    data: bytes
    at: float


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction's row.

    ``id`` orders transactions by creation, for paging. ``owner`` is the node that drives it, "" for nobody.
    ``wake_at`` is when somebody must drive it (None: only an event can bring it on, or it is final); all instants are
    seconds since the epoch. ``attempt_count`` (consecutive faults) and ``last_error`` speak of the step it last waited
    for. ``result`` is the value (JSON) once it succeeded, the error (an ``ErrorRecord`` as JSON) once it failed.
    ``nudged_at`` is when somebody else than its owner last appended to it. ``needs_decision`` says that a step which
    may be made once only is in doubt, and the run waits for a person; ``last_error`` tells which. ``begun_by`` is the
    gid of the transaction that began this one as its child, a detached one too; "" for what began from outside.
    """

    id: int
    gid: str
    pattern: str
    workflow: str
    version: str
    status: Status
    owner: str
    wake_at: float | None
    attempt_count: int
    last_error: str
    input: bytes
    options: bytes
    result: bytes | None
    reason: str
    created_at: float
    updated_at: float
    finished_at: float | None
    nudged_at: float | None
    needs_decision: bool = False
    begun_by: str = ""

    @property
    def is_final(self) -> bool:
        """True when nothing will ever change it again."""
        return self.status in FINAL

    def __repr__(self) -> str:
        owned = f", owned by {self.owner}" if self.owner else ""
        return f"<Transaction {self.gid} {self.pattern} {self.status}{owned}>"


class NewPlace(msgspec.Struct, frozen=True, kw_only=True):
    """What a new transaction of a workflow with a limit waits for: a place under ``key``, from ``due_at`` on."""

    key: str
    due_at: float


class NewTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """The row of a transaction that must not exist yet: a gid that is taken is a conflict.

    It has a ``reason`` when it was turned round before this journal heard of it.
    """

    pattern: str
    workflow: str
    version: str
    status: Status
    owner: str
    wake_at: float | None
    input: bytes
    options: bytes
    created_at: float
    place: NewPlace | None = None
    begun_by: str = ""
    reason: str = ""


class RowChange(msgspec.Struct, frozen=True, kw_only=True):
    """New values for some columns of a row that must exist; what is left UNSET stays as it is."""

    updated_at: float
    status: Status | msgspec.UnsetType = msgspec.UNSET
    owner: str | msgspec.UnsetType = msgspec.UNSET
    wake_at: float | msgspec.UnsetType | None = msgspec.UNSET
    attempt_count: int | msgspec.UnsetType = msgspec.UNSET
    last_error: str | msgspec.UnsetType = msgspec.UNSET
    result: bytes | msgspec.UnsetType | None = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET
    finished_at: float | msgspec.UnsetType | None = msgspec.UNSET
    nudged_at: float | msgspec.UnsetType | None = msgspec.UNSET
    options: bytes | msgspec.UnsetType = msgspec.UNSET
    needs_decision: bool | msgspec.UnsetType = msgspec.UNSET


def row_of_new(id: int, gid: str, new: NewTransaction) -> Transaction:
    """The row that a new transaction gets; ``id`` is 0 while only the database knows the real one."""
    return Transaction(
        id=id,
        gid=gid,
        pattern=new.pattern,
        workflow=new.workflow,
        version=new.version,
        status=new.status,
        owner=new.owner,
        wake_at=new.wake_at,
        attempt_count=0,
        last_error="",
        input=new.input,
        options=new.options,
        result=None,
        reason=new.reason,
        created_at=new.created_at,
        updated_at=new.created_at,
        finished_at=None,
        nudged_at=None,
        begun_by=new.begun_by,
    )


def changed(row: Transaction, change: RowChange) -> Transaction:
    """The row as the change leaves it."""
    values = {name: getattr(change, name) for name in RowChange.__struct_fields__}
    return msgspec.structs.replace(row, **{name: value for name, value in values.items() if value is not msgspec.UNSET})


class InPieces(msgspec.Struct, frozen=True, kw_only=True):
    """A payload that is kept in pieces, and the place it belongs to; ``seq`` is an event's, None for a row's.

    ``size`` is its length in bytes, before any codec. The id is its writer's, and nobody else's ever.
    """

    id: str
    gid: str
    field: PayloadField
    seq: int | None
    piece_count: int
    size: int


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of a payload, numbered from 0. ``node`` writes it, "" is no node; ``at`` is when it began to."""

    of: InPieces
    number: int
    data: bytes
    node: str
    at: float


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one transaction wants to change at once: all of it happens, or none of it.

    The seqs of ``rows`` are contiguous; the first is the fence. ``change`` is a ``NewTransaction`` exactly when the
    first seq is 0. ``keeps_from`` is the seq of the row that begins a fresh journal, None for none: the rows before it
    are let go. ``counted`` are the payloads in pieces that it names: they must be coming, and whole, and count from
    then on. There are no rows exactly when there are ``pieces``, and then there is nothing else; putting a piece that
    is there already, or whose payload was let go of, changes nothing and is no error.
    """

    gid: str
    rows: tuple[JournalRow, ...]
    change: NewTransaction | RowChange | None = None
    keeps_from: int | None = None
    counted: tuple[InPieces, ...] = ()
    pieces: tuple[Piece, ...] = ()

    def __str__(self) -> str:
        """What messages call it."""
        if self.rows:
            return f"write of {self.gid!r} at seq {self.rows[0].seq}"
        numbers = ", ".join(str(piece.number) for piece in self.pieces)
        return f"write of {self.gid!r}, piece {numbers} of a large payload"


class KvEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One value under a category and a key (spec 6.2): ``version`` counts its writes from 1, ``id`` orders for paging.

    Instants are seconds since the epoch.
    """

    id: int
    category: str
    key: str
    value: str
    version: int
    created_at: float
    updated_at: float


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which transactions to list; an empty field does not restrict. Times are inclusive, seconds since the epoch."""

    status: str = ""
    pattern: str = ""
    workflow: str = ""
    created_from_at: float | None = None
    created_to_at: float | None = None
    unfinished: bool = False
    needs_decision: bool = False
