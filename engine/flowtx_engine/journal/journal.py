"""The journal as the runtime sees it: async, and with all appends of the process in few commits.

The law of this file: one committer task writes. It takes whatever gathered while the last commit was on its way and
hands it to the store in one worker-thread hop (inline for a local store), so a batch costs one hop and one commit
however many appended. First come, first written; of the pieces of large payloads, one a commit. There is no ``await``
between reading shared state and changing it.

    append:  queued -> in flight -> answered
                |          |
            withdrawn   abandoned        (its task was cancelled)

A withdrawn write is never handed to the store. An abandoned one is: it may become durable, and nobody here will know,
which is the same as an answer that was lost.
"""

from __future__ import annotations

import enum
import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import outcome
import trio

from flowtx_engine.journal.checks import check_write
from flowtx_engine.journal.errors import (
    ConflictError,
    JournalClosed,
    JournalUnavailable,
    PiecesGone,
    UnreadablePayload,
)
from flowtx_engine.journal.pieces import PIECE_BYTES, Large, is_in_pieces, is_large, whole_rows, whole_transaction
from flowtx_engine.journal.records import Filter, JournalRow, KvEntry, Transaction, Write
from flowtx_engine.journal.store import Store, WriteResult

log = logging.getLogger("flowtx.journal")

Answer = TypeVar("Answer")

BATCH_BYTES_MAX = 16 * 1024 * 1024
"""A batch carries no more payload than this, unless a single write does: memory has a limit, and so has patience."""
READ_AGAIN_MAX = 10
"""So often a payload may be let go of, and another stand in its place, while it is read."""
READS_MAX = 4
"""Reads at once. More threads would only wait for each other: reading is Python's work as much as the database's."""
CLOSE_GRACE_S = 10.0
"""How long closing waits for the store to let go before it leaves the store's thread behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalStatistics:
    """``commit_count`` batches became durable with ``write_count`` writes and ``row_count`` journal rows in them.

    ``commit_seconds`` is how long these commits took together.
    ``conflict_count`` writes were kept out by the fence; ``pending_count`` wait to be written or are being written.
    """

    commit_count: int
    commit_seconds: float
    write_count: int
    row_count: int
    conflict_count: int
    pending_count: int


class _State(enum.Enum):
    QUEUED = enum.auto()
    IN_FLIGHT = enum.auto()
    WITHDRAWN = enum.auto()
    ABANDONED = enum.auto()


class _Entry:
    """One append and the task that waits for it."""

    __slots__ = ("size", "state", "task", "write")

    def __init__(self, write: Write, size: int, task: trio.lowlevel.Task) -> None:
        self.write = write
        self.size = size
        self.task = task
        self.state = _State.QUEUED


class Journal:
    """A store, shared by every task of a process. Owns the store: closing the journal closes it."""

    def __init__(self, store: Store, *, batch_max: int = 512, piece_bytes: int = PIECE_BYTES) -> None:
        """Payloads of more than ``piece_bytes`` are kept in pieces of that length."""
        assert batch_max > 0, batch_max
        assert piece_bytes > 0, piece_bytes
        self.node = ""
        """Who writes large payloads here: a node sets it to its name, so that the others know who is alive."""
        self._store = store
        self._batch_max = batch_max
        self._piece_bytes = piece_bytes
        self._large: list[Large] = []
        self._queue: deque[_Entry] = deque()
        self._pieces: deque[_Entry] = deque()
        self._idle_committer: trio.lowlevel.Task | None = None
        self._is_served = False
        self._served = trio.Event()
        self._closed_because = ""
        self._commit_count = 0
        self._commit_seconds = 0.0
        self._write_count = 0
        self._row_count = 0
        self._conflict_count = 0
        self._pending_count = 0
        # Heartbeats and claims have tokens of their own: a node must not count as dead because a listing is slow.
        self._read_limiter = trio.CapacityLimiter(READS_MAX)
        self._node_limiter = trio.CapacityLimiter(2)
        self._commit_limiter = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        state = f"closed: {self._closed_because}" if self._closed_because else f"{self._pending_count} pending"
        return f"<Journal on {self._store!r}, {state}>"

    def statistics(self) -> JournalStatistics:
        """Counts since the journal was made."""
        return JournalStatistics(
            commit_count=self._commit_count,
            commit_seconds=self._commit_seconds,
            write_count=self._write_count,
            row_count=self._row_count,
            conflict_count=self._conflict_count,
            pending_count=self._pending_count,
        )

    # --- appending ---

    async def append(self, write: Write | Large) -> None:
        """Return when the write is durable.

        Raises ``ConflictError`` when somebody else was first and ``UnstorableWrite`` when the database cannot hold a
        value of it: nothing was written. Raises ``JournalUnavailable`` when nobody knows; so does being cancelled here.
        A write from ``cut`` may be appended again after that, and goes on where it was.
        """
        cut = self.cut(write) if isinstance(write, Write) else write
        if isinstance(cut, Write):
            await self._append(cut, check_write(cut), self._queue)
            return
        with self.under_way(cut):
            while True:
                while (piece := cut.next_piece()) is not None:
                    await self._append(piece, check_write(piece), self._pieces)
                    cut.went_on()
                try:
                    await self._append(cut.write, check_write(cut.write), self._queue)
                    break
                except PiecesGone as gone:
                    log.warning("Another node took this one for dead: %s. They are written again.", gone.message)
                    cut.begin_again()

    def cut(self, write: Write) -> Write | Large:
        """The write as it goes to the store: with its large payloads cut into pieces if it has any."""
        if check_write(write) > self._piece_bytes and is_large(write, self._piece_bytes):
            return Large(write, node=self.node, piece_bytes=self._piece_bytes)
        return write

    @contextmanager
    def under_way(self, write: Write | Large) -> Generator[None]:
        """While it is open, the write's pieces are not this node's to sweep."""
        if isinstance(write, Write):
            yield
            return
        self._large.append(write)
        try:
            yield
        finally:
            self._large.remove(write)

    def is_under_way(self, payload_id: str) -> bool:
        """True while somebody here writes this payload."""
        return any(payload_id in large.ids for large in self._large)

    async def _append(self, write: Write, size: int, queue: deque[_Entry]) -> None:
        if self._closed_because:
            raise self._closed()
        entry = _Entry(write, size, trio.lowlevel.current_task())
        queue.append(entry)
        self._pending_count += 1
        self._wake_committer()

        def give_up(_: Callable[[], None]) -> trio.lowlevel.Abort:
            if entry.state is _State.QUEUED:
                entry.state = _State.WITHDRAWN
                self._pending_count -= 1
            else:
                entry.state = _State.ABANDONED
            return trio.lowlevel.Abort.SUCCEEDED

        # Not a trio.Event: it costs a quarter more (measured), carries no error, and cannot tell when its waiter left.
        await trio.lowlevel.wait_task_rescheduled(give_up)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be the committer, until cancelled or closed; closing writes what is queued, being cancelled does not."""
        assert not self._is_served, "a journal has one committer: serve() was called twice"
        self._is_served = True
        task_status.started()
        try:
            while await self._gathered():
                batch = self._take()
                if batch:
                    # Shielded: a commit that was begun has an outcome, and those who wait for it want to know.
                    with trio.CancelScope(shield=True):
                        await self._write(batch)
        finally:
            self._closed_because = self._closed_because or "its committer has ended"
            self._fail_queue()
            self._served.set()

    async def _gathered(self) -> bool:
        """Wait until there is something to write; False when there is nothing and there never will be."""
        # The tasks that the last batch has answered run first, so that what they append now shares the next commit.
        # Two passes: trio runs the tasks of one pass in any order.
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        if not self._has_queue and not self._closed_because:
            self._idle_committer = trio.lowlevel.current_task()

            def stop(_: Callable[[], None]) -> trio.lowlevel.Abort:
                self._idle_committer = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(stop)
        return self._has_queue or not self._closed_because

    @property
    def _has_queue(self) -> bool:
        return bool(self._queue or self._pieces)

    def _wake_committer(self) -> None:
        if self._idle_committer is not None:
            trio.lowlevel.reschedule(self._idle_committer)
            self._idle_committer = None

    def _take(self) -> list[_Entry]:
        batch: list[_Entry] = []
        size = 0
        while self._queue and len(batch) < self._batch_max:
            entry = self._queue[0]
            if entry.state is _State.QUEUED:
                size += entry.size
                if batch and size > BATCH_BYTES_MAX:
                    break
                entry.state = _State.IN_FLIGHT
                batch.append(entry)
            self._queue.popleft()
        # One piece a commit, so that nobody waits longer for it. Those who write large payloads take turns.
        while self._pieces:
            entry = self._pieces.popleft()
            if entry.state is _State.QUEUED:
                entry.state = _State.IN_FLIGHT
                batch.append(entry)
                break
        return batch

    async def _write(self, batch: list[_Entry]) -> None:
        """Commit a batch and answer everybody in it, whatever comes."""
        writes = [entry.write for entry in batch]
        began_at = time.perf_counter()
        try:
            results = await self._commit(writes)
            assert len(results) == len(batch), f"{self._store!r} gave {len(results)} results for {len(batch)} writes"
        except JournalUnavailable as error:
            log.warning("A batch of %d writes may not be durable: %s", len(batch), error.message)
            self._fail(batch, error)
        except Exception as error:  # a bug in the store: loud for everybody in the batch, and the committer lives on
            self._fail(batch, error)
        except BaseException:
            self._fail(batch, JournalUnavailable("the process is ending while this write is on its way"))
            raise
        else:
            self._commit_count += 1
            self._commit_seconds += time.perf_counter() - began_at
            for entry, result in zip(batch, results, strict=True):
                self._count(entry, result)
                self._answer(entry, result)

    async def _commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        if self._store.is_local:
            return self._store.commit(writes)
        return await trio.to_thread.run_sync(self._store.commit, writes, limiter=self._commit_limiter)

    def _count(self, entry: _Entry, result: WriteResult) -> None:
        if result is None:
            self._write_count += 1
            self._row_count += len(entry.write.rows)
        elif isinstance(result, ConflictError):
            self._conflict_count += 1

    def _answer(self, entry: _Entry, result: WriteResult) -> None:
        self._pending_count -= 1
        if entry.state is _State.ABANDONED:
            return
        if result is None:
            trio.lowlevel.reschedule(entry.task)
        else:
            trio.lowlevel.reschedule(entry.task, outcome.Error(result))

    def _fail(self, batch: Sequence[_Entry], error: Exception) -> None:
        for entry in batch:
            self._answer(entry, _again(error))

    def _fail_queue(self) -> None:
        waiting = [entry for entry in (*self._queue, *self._pieces) if entry.state is _State.QUEUED]
        self._queue.clear()
        self._pieces.clear()
        self._fail(waiting, self._closed())

    def _closed(self) -> JournalClosed:
        return JournalClosed(f"{self._store!r} takes no more writes: {self._closed_because}")

    async def aclose(self) -> None:
        """Write what is queued, then close the store; later calls raise ``JournalUnavailable``.

        When cancelled it does not wait for the queue. The store is closed in any case, within ``CLOSE_GRACE_S``.
        """
        self._closed_because = self._closed_because or "it was closed"
        self._wake_committer()
        try:
            if self._is_served:
                await self._served.wait()
            else:
                self._fail_queue()
        finally:
            with trio.move_on_after(CLOSE_GRACE_S, shield=True):
                await self._close_store()

    async def _close_store(self) -> None:
        if self._store.is_local:
            self._store.close()
        else:
            await trio.to_thread.run_sync(self._store.close, abandon_on_cancel=True)

    # --- reading ---

    async def transaction(self, gid: str) -> Transaction | None:
        """The row of a gid, or None."""

        def read() -> Transaction | None:
            row = self._store.transaction(gid)
            return None if row is None else whole_transaction(self._store, row)

        return await self._read(lambda: _read_whole(gid, read))

    async def history(self, gid: str, from_seq: int = 0) -> list[JournalRow]:
        """A gid's journal from a seq on, in order."""

        def read() -> list[JournalRow]:
            return whole_rows(self._store, self._store.history(gid, from_seq))

        return await self._read(lambda: _read_whole(gid, read))

    async def stored_history(self, gid: str, from_seq: int = 0) -> list[JournalRow]:
        """``history`` as it is stored: large payloads by what stands in their place."""
        return await self._read(lambda: self._store.history(gid, from_seq))

    async def histories(self, gids: Sequence[str], row_max: int) -> dict[str, list[JournalRow]]:
        """The journals of several gids as they are stored, as far as ``row_max`` rows hold them.

        See ``Store.histories``, and ``whole`` for their large payloads.
        """
        return await self._read(lambda: self._store.histories(gids, row_max))

    async def whole(self, gid: str, rows: list[JournalRow]) -> list[JournalRow]:
        """A history that was read as it is stored, with its payloads; read again if they are not there any more."""
        if not any(is_in_pieces(row.data) for row in rows):
            return rows
        try:
            return await self._read(lambda: whole_rows(self._store, rows))
        except PiecesGone:
            return await self.history(gid)

    async def transactions(self, wanted: Filter, *, before_id: int | None, limit: int) -> list[Transaction]:
        """A page as it is stored, newest first; ``before_id`` is the id of the last row of the page before."""
        return await self._read(lambda: self._store.transactions(wanted, before_id=before_id, limit=limit))

    # --- key-values ---

    async def kv_page(self, category: str, key: str, *, before_id: int | None, limit: int) -> list[KvEntry]:
        """A page of key-values, newest first; see ``Store.kv_page``."""
        return await self._read(lambda: self._store.kv_page(category, key, before_id=before_id, limit=limit))

    async def kv_put(self, category: str, key: str, value: str, *, version: int, now_at: float) -> None:
        """Set a value that has this version, 0 for one that is not there; see ``Store.kv_put``."""
        await self._read(lambda: self._store.kv_put(category, key, value, version=version, now_at=now_at))

    async def kv_delete(self, category: str, key: str) -> bool:
        """Remove a value; False when there was none."""
        return await self._read(lambda: self._store.kv_delete(category, key))

    # --- nodes ---

    async def claim(
        self, node: str, now_at: float, limit: int, workflows: Sequence[tuple[str, str]]
    ) -> list[Transaction]:
        """Take due transactions for ``node``; see ``Store.claim``."""
        return await self._node(lambda: self._store.claim(node, now_at, limit, workflows))

    async def next_wake_at(self, workflows: Sequence[tuple[str, str]]) -> float | None:
        """The earliest ``wake_at`` of a transaction of these workflows that belongs to nobody, or None."""
        return await self._node(lambda: self._store.next_wake_at(workflows))

    async def owned(self, node: str) -> list[str]:
        """The gids of the unfinished transactions that belong to ``node``."""
        return await self._node(lambda: self._store.owned(node))

    async def nudged(self, node: str, since_at: float) -> list[str]:
        """The gids of ``node``'s transactions that somebody else appended to at or after ``since_at``."""
        return await self._node(lambda: self._store.nudged(node, since_at))

    async def beat(self, node: str, now_at: float, alive_until_at: float) -> None:
        """Record that a node is alive until an instant."""
        await self._node(lambda: self._store.beat(node, now_at, alive_until_at))

    async def release(self, node: str, now_at: float) -> None:
        """Give back everything a node owns, due at once, and forget the node."""
        await self._node(lambda: self._store.release(node, now_at))

    async def prune(self, ended_before_at: float, limit: int) -> int:
        """Delete transactions that ended before an instant; see ``Store.prune``."""
        return await self._read(lambda: self._store.prune(ended_before_at, limit))

    async def empty(self) -> None:
        """Forget every transaction and all else but the nodes; for tests, when nothing is being written."""
        await self._ask(self._store.empty, self._commit_limiter)

    async def uncounted(self, node: str, now_at: float, limit: int) -> list[str]:
        """The ids of payloads in pieces that nobody is writing, or only ``node``; see ``PieceStore.uncounted``."""
        return await self._node(lambda: self._store.uncounted(node, now_at, limit))

    async def sweep(self, ids: Sequence[str], piece_max: int) -> int:
        """Let go of those that do not count, and delete some of their pieces; see ``PieceStore.sweep``."""
        return await self._node(lambda: self._store.sweep(ids, piece_max))

    async def ask_node(self, call: Callable[[Store], Answer]) -> Answer:
        """Let the store answer something of the node's own doings: its places, schedules and code."""
        return await self._node(lambda: call(self._store))

    async def _read(self, call: Callable[[], Answer]) -> Answer:
        return await self._ask(call, self._read_limiter)

    async def _node(self, call: Callable[[], Answer]) -> Answer:
        return await self._ask(call, self._node_limiter)

    async def _ask(self, call: Callable[[], Answer], limiter: trio.CapacityLimiter) -> Answer:
        if self._store.is_local:
            await trio.lowlevel.checkpoint()
            return call()
        return await trio.to_thread.run_sync(call, limiter=limiter)


def _read_whole(gid: str, read: Callable[[], Answer], *, again: int = READ_AGAIN_MAX) -> Answer:
    try:
        return read()
    except PiecesGone as gone:
        if again:  # another result, or a journal that began anew, may have taken the place of this meanwhile
            return _read_whole(gid, read, again=again - 1)
        raise UnreadablePayload(
            f"transaction {gid} cannot be read: {gone.message}", remedy="Restore the database from a backup."
        ) from gone


def _again(error: Exception) -> Exception:
    """An error for one more waiter: one object raised in many tasks would gather the tracebacks of all of them."""
    if not isinstance(error, JournalUnavailable):
        return error
    another = type(error)(error.message, remedy=error.remedy)
    another.__cause__ = error
    return another
