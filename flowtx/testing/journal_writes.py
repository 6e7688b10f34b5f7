"""Writes for tests of journals: short to say, every column filled with something that tells it from its neighbours."""

from __future__ import annotations

from collections.abc import Sequence

from flowtx_engine.journal.records import JournalRow, NewPlace, NewTransaction, RowChange, Status, Write

CREATED_AT = 1_700_000_000.125
WORKFLOW = ("transfer", "1")
"""The name and version that writes have unless told otherwise."""


def row(gid: str, seq: int, *, data: bytes = b'{"kind":"succeeded"}', at: float = CREATED_AT) -> JournalRow:
    """One journal row."""
    return JournalRow(gid=gid, seq=seq, kind="succeeded", address=f"0/{seq}", data=data, at=at)


def begin(
    gid: str,
    *,
    row_count: int = 1,
    status: Status = "submitted",
    pattern: str = "workflow",
    workflow: tuple[str, str] = WORKFLOW,
    owner: str = "",
    wake_at: float | None = None,
    created_at: float = CREATED_AT,
    input: bytes = b'"input"',
    place: NewPlace | None = None,
    begun_by: str = "",
) -> Write:
    """The first write of a gid, with ``row_count`` rows from seq 0 on."""
    name, version = workflow
    change = NewTransaction(
        pattern=pattern,
        workflow=name,
        version=version,
        status=status,
        owner=owner,
        wake_at=wake_at,
        input=input,
        options=b'{"options":1}',
        created_at=created_at,
        place=place,
        begun_by=begun_by,
    )
    return Write(gid=gid, rows=tuple(row(gid, seq) for seq in range(row_count)), change=change)


def step(gid: str, seq: int, change: RowChange | None = None, *, row_count: int = 1, data: bytes = b"{}") -> Write:
    """A further write of a gid, its first row at ``seq``."""
    rows = tuple(row(gid, each, data=data) for each in range(seq, seq + row_count))
    return Write(gid=gid, rows=rows, change=change)


def end(gid: str, seq: int, *, status: Status = "succeed", at: float = CREATED_AT + 1) -> Write:
    """The last write of a gid, as the engine makes it: nobody's, and never due again."""
    change = RowChange(
        updated_at=at, status=status, owner="", wake_at=None, result=b'"done"', reason="why", finished_at=at
    )
    return step(gid, seq, change)


def gids(writes: Sequence[Write]) -> list[str]:
    """The gids of writes, in order."""
    return [write.gid for write in writes]
