"""What must hold of a write before any store sees it, and what a conflict says.

The law of this file: it looks at values only. A write that breaks a rule here is a programming error, so it is an
assert with the value in its text, raised to the caller before the write can hurt the batch it would travel in.
"""

from __future__ import annotations

from flowtx_engine.journal.errors import ConflictError, PiecesGone
from flowtx_engine.journal.records import NewTransaction, Write

GID_CHARS_MAX = 128
"""A longer gid fits no SQL store (spec 1)."""


def check_write(write: Write) -> int:
    """Assert the shape that ``Write`` promises; returns how many bytes of payload it carries."""
    gid, rows = write.gid, write.rows
    if write.pieces:
        assert write == Write(gid=gid, rows=(), pieces=write.pieces), f"pieces go by themselves: {write!r}"
        assert all(piece.of.gid == gid for piece in write.pieces), f"a write of {gid!r} carries another's pieces"
        return sum(len(piece.data) for piece in write.pieces)
    assert all(of.gid == gid for of in write.counted), f"a write of {gid!r} counts another's payloads"
    assert 0 < len(gid) <= GID_CHARS_MAX, f"a gid has 1 to {GID_CHARS_MAX} characters, this one has {len(gid)}: {gid!r}"
    assert rows, f"a write of {gid!r} carries no journal row"
    size = 0
    for seq, row in enumerate(rows, rows[0].seq):
        assert row.gid == gid, f"a write of {gid!r} carries a row of {row.gid!r}"
        assert row.seq == seq >= 0, f"a write of {gid!r} carries seq {row.seq} where {seq} must follow"
        size += len(row.data)
    assert write.keeps_from is None or write.keeps_from in range(rows[0].seq, rows[-1].seq + 1), (
        f"a write of {gid!r} keeps its journal from seq {write.keeps_from}, which it does not write"
    )
    change = write.change
    is_new = isinstance(change, NewTransaction)
    assert is_new == (rows[0].seq == 0), f"the first write of {gid!r}, and no other, carries a NewTransaction: {write}"
    if isinstance(change, NewTransaction):
        size += len(change.input) + len(change.options)
    elif change is not None and isinstance(change.result, bytes):
        size += len(change.result)
    return size


def kv_conflict_of(category: str, key: str, version: int, found: int | None) -> ConflictError:
    """The error of a value's write that found another version, or none."""
    there = "is not there" if found is None else f"has version {found}"
    expected = f"version {version}" if version else "none"
    return ConflictError(f"the value {category}/{key} {there}; the write expected {expected}")


def pieces_gone(write: Write) -> PiecesGone:
    """The error of a write one of whose payloads is not coming, or not whole."""
    return PiecesGone(f"{write}: pieces of a payload that it names are not there")


def conflict_of(write: Write, next_seq: int | None) -> ConflictError:
    """The error of a write that found the journal of its gid going on at ``next_seq``; None: there is no such gid."""
    gid, seq = write.gid, write.rows[0].seq
    if next_seq is None:
        return ConflictError(f"transaction {gid} is not in the journal; the write expected it to go on at {seq}")
    if seq == 0:
        return ConflictError(f"transaction {gid} exists already, its journal goes on at {next_seq}")
    return ConflictError(f"the journal of {gid} goes on at {next_seq}; the write expected {seq}")
