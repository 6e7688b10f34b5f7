"""A batch of writes as the rows of three statements, and the reasons why it may not go in as a whole.

The law of this file: it looks at values only. A batch is *regular* when every further write of a gid in it begins where
the one before ended; then all inserts may come before all updates, and one fence a gid is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from flowtx_engine.journal.records import InPieces, NewTransaction, Piece, RowChange, Write

Row = tuple[object, ...]


@dataclass(slots=True, kw_only=True)
class Batch:
    """The rows of a regular batch, as the statements in ``sql_statements.py`` take them.

    ``fresh`` are gids whose journal begins anew, and from which seq on it is kept. ``pieces`` go in before all else,
    ``counted`` are the payloads that must be whole by then.
    """

    transactions: list[Row] = field(default_factory=list[Row])
    places: list[Row] = field(default_factory=list[Row])
    journal: list[Row] = field(default_factory=list[Row])
    changes: list[Row] = field(default_factory=list[Row])
    fresh: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    pieces: list[Piece] = field(default_factory=list[Piece])
    counted: list[InPieces] = field(default_factory=list[InPieces])


def batch_of(writes: Sequence[Write]) -> Batch | None:
    """The rows of a batch; None when it is not regular."""
    batch = Batch()
    ends: dict[str, int] = {}
    changes: dict[str, RowChange] = {}
    for write in writes:
        gid, rows = write.gid, write.rows
        if write.pieces:
            if batch.counted:  # they may be of one of these, and come too late for it
                return None
            batch.pieces.extend(write.pieces)
            continue
        batch.counted.extend(write.counted)
        first = rows[0].seq
        end = ends.get(gid)
        if end is not None and end != first:
            return None
        ends[gid] = first + len(rows)
        # The fence: the seq that must be there already. None: this batch or nobody puts it there.
        fence = first - 1 if end is None and first else None
        for row in rows:
            batch.journal.append((gid, row.seq, row.kind, row.address, row.at, row.data, fence))
            fence = None
        if write.keeps_from is not None:
            batch.fresh.append((gid, write.keeps_from))
        match write.change:
            case NewTransaction() as new:
                batch.transactions.append(_new_row(gid, new))
                if new.place is not None:
                    batch.places.append((gid, new.place.key, new.place.due_at))
            case RowChange() as change:
                earlier = changes.get(gid)
                changes[gid] = change if earlier is None else _merged(earlier, change)
            case None:
                pass
    batch.changes = [_change_row(gid, change) for gid, change in changes.items()]
    return batch


def _new_row(gid: str, new: NewTransaction) -> Row:
    return (
        gid,
        new.pattern,
        new.workflow,
        new.version,
        new.status,
        new.owner,
        new.wake_at,
        new.created_at,
        new.begun_by,
        new.reason,
        new.options,
        new.input,
    )


def _change_row(gid: str, change: RowChange) -> Row:
    """A column that cannot be NULL is left alone by NULL; one that can has a flag before it."""
    return (
        gid,
        change.updated_at,
        _or_none(change.status),
        _or_none(change.owner),
        change.wake_at is not msgspec.UNSET,
        _or_none(change.wake_at),
        _or_none(change.attempt_count),
        _or_none(change.last_error),
        change.result is not msgspec.UNSET,
        _or_none(change.result),
        _or_none(change.reason),
        change.finished_at is not msgspec.UNSET,
        _or_none(change.finished_at),
        change.nudged_at is not msgspec.UNSET,
        _or_none(change.nudged_at),
        _or_none(change.options),
        _or_none(change.needs_decision),
    )


def _or_none(value: object) -> object:
    return None if value is msgspec.UNSET else value


def _merged(earlier: RowChange, later: RowChange) -> RowChange:
    values = msgspec.structs.asdict(later)
    return msgspec.structs.replace(
        earlier, **{name: value for name, value in values.items() if value is not msgspec.UNSET}
    )
