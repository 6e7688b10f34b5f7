"""The one protocol every store of a journal keeps: memory, SQL, and the ones that fail on purpose.

The law of this file: a store is synchronous and knows nothing of trio, workflows or events. It keeps rows. When a
method raises ``JournalUnavailable`` the caller does not know whether the write happened and finds out by reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flowtx_engine.journal.pieces import PieceStore
from flowtx_engine.journal.places import PlaceStore
from flowtx_engine.journal.records import Filter, JournalRow, KvEntry, Transaction, Write
from flowtx_engine.journal.schedules import ScheduleStore

STORES = ("sqlite", "memory")
"""The schemes of the URLs that ``open_store`` understands, so that others can say what there is."""

WriteResult = Exception | None
"""What became of one write of a batch: None when it is durable, else the error that kept it out."""


class Store(PlaceStore, ScheduleStore, PieceStore, Protocol):
    """Where a journal lives. Called from worker threads: ``commit`` from one at a time, reads from several."""

    is_local: bool
    """True when methods return at once and need no worker thread (memory)."""

    def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        """Make a batch durable in one database transaction; one result a write, in order.

        A conflict (``ConflictError``: the seq is taken or the one before it is missing, the gid of a new transaction is
        taken, or the row of a change is missing; ``PiecesGone`` when a payload it counts is not coming, or not whole)
        hurts only its own write, and so does a value that the database cannot hold (``UnstorableWrite``). Two writes of
        one gid may stand in one batch and are applied in order.
        Raises ``JournalUnavailable`` when the outcome of the whole batch is unknown or nothing could be written.
        """
        ...

    def transaction(self, gid: str) -> Transaction | None:
        """The row of a gid, or None."""
        ...

    def history(self, gid: str, from_seq: int = 0) -> list[JournalRow]:
        """A gid's journal from a seq on, in order."""
        ...

    def histories(self, gids: Sequence[str], row_max: int) -> dict[str, list[JournalRow]]:
        """The whole journals of several gids, for recovery; the oldest transactions first, as far as the rows go.

        Absent is what ``row_max`` rows do not hold, what is not there, and what cannot be decoded: whoever needs that
        one reads it by itself.
        """
        ...

    def transactions(self, wanted: Filter, *, before_id: int | None, limit: int) -> list[Transaction]:
        """A page, newest first; ``before_id`` is the id of the last row of the page before."""
        ...

    def claim(self, node: str, now_at: float, limit: int, workflows: Sequence[tuple[str, str]]) -> list[Transaction]:
        """Take for ``node`` up to ``limit`` due transactions of nobody or of a dead node, most overdue first.

        ``workflows`` are the names and versions whose code the node has loaded; others are left to other nodes.
        Due means unfinished and ``wake_at <= now_at``; of two that are equally overdue the older comes first. Dead
        means the node's ``alive_until_at`` is before ``now_at`` or it is not known; ``node`` is not dead to itself, so
        what it owns already is not among them. ``updated_at`` becomes ``now_at``. Two nodes never get the same one.
        """
        ...

    def next_wake_at(self, workflows: Sequence[tuple[str, str]]) -> float | None:
        """The earliest ``wake_at`` of a transaction of these workflows that belongs to nobody, or None."""
        ...

    def owned(self, node: str) -> list[str]:
        """The gids of the unfinished transactions that belong to ``node``."""
        ...

    def nudged(self, node: str, since_at: float) -> list[str]:
        """The gids of ``node``'s transactions, finished or not, with a ``nudged_at`` at or after ``since_at``."""
        ...

    def beat(self, node: str, now_at: float, alive_until_at: float) -> None:
        """Record that a node is alive until an instant; forgets nodes dead for long that own nothing."""
        ...

    def declare(self, node: str, workflows: Sequence[tuple[str, str]]) -> None:
        """Record the names and versions of the workflows whose code a node has loaded, in place of what it had."""
        ...

    def loaded(self, now_at: float) -> set[tuple[str, str]]:
        """The names and versions of the workflows that some node has loaded which is alive at ``now_at``."""
        ...

    def release(self, node: str, now_at: float) -> None:
        """Give back every unfinished transaction a node owns, due and updated at ``now_at``, and forget the node."""
        ...

    def kv_page(self, category: str, key: str, *, before_id: int | None, limit: int) -> list[KvEntry]:
        """A page of key-values, newest first; an empty ``category`` or ``key`` does not restrict.

        ``before_id`` is the id of the last entry of the page before. An entry keeps its id as long as it exists.
        """
        ...

    def kv_put(self, category: str, key: str, value: str, *, version: int, now_at: float) -> None:
        """Set the value whose version is ``version``, which counts up by one; 0 creates it with version 1.

        Raises ``ConflictError`` when the version is another, or there is none: nothing was written.
        """
        ...

    def kv_delete(self, category: str, key: str) -> bool:
        """Remove a value, whatever its version; False when there was none."""
        ...

    def prune(self, ended_before_at: float, limit: int) -> int:
        """Delete up to ``limit`` transactions that ended before an instant, those that ended first; how many they were.

        With a transaction goes everything that is kept of it. Only what is final is deleted. A child stays as long as
        the transaction that began it is unfinished and its journal reaches back to before the child's end: replaying
        it might ask for the child again, which would then do its work twice.
        """
        ...

    def empty(self) -> None:
        """Forget every transaction, its journal, and all else that is stored but the nodes: a test begins anew."""
        ...

    def close(self) -> None:
        """Let go of connections; later calls raise ``JournalUnavailable``."""
        ...
