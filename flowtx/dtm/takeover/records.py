"""What DTM's store holds, as values, and what every store that can be read offers (spec 6).

The law of this file: these are DTM's words and DTM's rows, before anybody asks what flowtx would make of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from flowtx_dsl.errors import FlowtxError

UNFINISHED = ("prepared", "submitted", "aborting")
"""The statuses with which DTM still has something to do (spec 4.1)."""


class SourceError(FlowtxError):
    """DTM's store cannot be read; nothing was written on account of it."""

    remedy = "Check the URL of --from, and that this user may read the tables there."


class CannotTakeOver(FlowtxError):
    """A transaction of DTM's that flowtx could not go on with exactly where it stands."""


class DtmBranch(msgspec.Struct, frozen=True, kw_only=True):
    """One branch-op row: what a participant is asked, and how that went (spec 6.1). Instants in seconds, or None."""

    branch_id: str
    op: str
    url: str
    payload: bytes
    status: str
    created_at: float | None = None
    finished_at: float | None = None


class DtmTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction's row with its branches in the order in which they were stored; ``options`` is DTM's JSON text."""

    gid: str
    trans_type: str
    status: str
    created_at: float | None
    query_prepared: str = ""
    protocol: str = ""
    options: str = ""
    custom_data: str = ""
    rollback_reason: str = ""
    branches: tuple[DtmBranch, ...] = ()


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is not as DTM writes it, and why."""

    gid: str
    reason: str


class DtmTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic: its name, and its subscribers as DTM's JSON (spec 6.2)."""

    name: str
    value: str


class Source(Protocol):
    """A store of DTM's, opened to be read; every method raises ``SourceError`` when the store fails."""

    def unfinished(self) -> Iterator[DtmTransaction | Unreadable]:
        """The transactions that DTM has not finished, oldest first where the store knows."""
        ...

    def finished_count(self) -> int:
        """How many it has finished and still keeps; asked after ``unfinished`` was read to its end."""
        ...

    def topics(self) -> Iterator[DtmTopic]:
        """Its topics."""
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...
