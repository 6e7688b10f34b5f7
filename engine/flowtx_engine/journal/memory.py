"""The journal in memory: dicts, and the meaning of the protocol in its plainest form.

The law of this file: it is the reference. Where another store and this one disagree, one of them is wrong, and the
conformance kit decides which. Nothing outlives the process.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from flowtx_engine.journal.checks import conflict_of, kv_conflict_of, pieces_gone
from flowtx_engine.journal.errors import ConflictError, JournalClosed
from flowtx_engine.journal.memory_pieces import MemoryPieces
from flowtx_engine.journal.memory_places import MemoryPlaces
from flowtx_engine.journal.places import Admitted, LimitRule
from flowtx_engine.journal.records import (
    Filter,
    InPieces,
    JournalRow,
    KvEntry,
    NewTransaction,
    RowChange,
    Transaction,
    Write,
    changed,
    row_of_new,
)
from flowtx_engine.journal.schedules import CronSchedule, Tick, moved_on
from flowtx_engine.journal.store import WriteResult


class MemoryStore:
    """A ``Store`` that is gone with its process."""

    is_local: bool = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._transactions: dict[str, Transaction] = {}  # in the order of their ids
        self._count = 0  # of all there ever were: an id is never given again
        self._unfinished: dict[str, None] = {}  # an ordered set of gids, so that claiming never walks finished ones
        self._histories: dict[str, list[JournalRow]] = {}
        self._alive_until: dict[str, float] = {}
        self._kv: dict[tuple[str, str], KvEntry] = {}  # in the order of their ids
        self._kv_count = 0
        self._loaded: dict[str, frozenset[tuple[str, str]]] = {}
        self._places = MemoryPlaces(self._transactions.__getitem__)
        self._pieces = MemoryPieces()
        self._schedules: dict[str, CronSchedule] = {}
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<MemoryStore, {len(self._transactions)} transactions, {len(self._unfinished)} unfinished>"

    # --- writing ---

    def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        """See ``Store.commit``."""
        with self._opened():
            return [self._write(write) for write in writes]

    def _write(self, write: Write) -> ConflictError | None:
        if write.pieces:
            self._pieces.put(write.pieces)
            return None
        rows = self._histories.get(write.gid)
        next_seq = None if rows is None else rows[-1].seq + 1
        if write.rows[0].seq != (next_seq or 0):
            return conflict_of(write, next_seq)
        if not self._pieces.count(write):
            return pieces_gone(write)
        rows = self._histories.setdefault(write.gid, [])
        rows.extend(write.rows)
        if write.keeps_from is not None:
            self._histories[write.gid] = [row for row in rows if row.seq >= write.keeps_from]
        match write.change:
            case NewTransaction() as new:
                self._count += 1
                self._put(row_of_new(self._count, write.gid, new))
                if new.place is not None:
                    self._places.add(write.gid, new.place)
            case RowChange() as change:
                self._put(changed(self._transactions[write.gid], change))
            case None:
                pass
        return None

    def _put(self, transaction: Transaction) -> None:
        self._transactions[transaction.gid] = transaction
        if transaction.is_final:
            self._unfinished.pop(transaction.gid, None)
        else:
            self._unfinished[transaction.gid] = None

    # --- reading ---

    def transaction(self, gid: str) -> Transaction | None:
        """See ``Store.transaction``."""
        with self._opened():
            return self._transactions.get(gid)

    def history(self, gid: str, from_seq: int = 0) -> list[JournalRow]:
        """See ``Store.history``."""
        with self._opened():
            rows = self._histories.get(gid, [])
            return rows[max(0, from_seq - rows[0].seq) :] if rows else []

    def histories(self, gids: Sequence[str], row_max: int) -> dict[str, list[JournalRow]]:
        """See ``Store.histories``; the oldest transactions first, as far as the rows go."""
        found: dict[str, list[JournalRow]] = {}
        with self._opened():
            for gid in sorted((gid for gid in set(gids) if gid in self._transactions), key=self._id_of):
                row_max -= len(self._histories[gid])
                if row_max < 0:
                    break
                found[gid] = list(self._histories[gid])
        return found

    def _id_of(self, gid: str) -> int:
        return self._transactions[gid].id

    def transactions(self, wanted: Filter, *, before_id: int | None, limit: int) -> list[Transaction]:
        """See ``Store.transactions``."""
        page: list[Transaction] = []
        with self._opened():
            for transaction in reversed(self._transactions.values()):
                if len(page) >= limit:
                    break
                if (before_id is None or transaction.id < before_id) and _matches(transaction, wanted):
                    page.append(transaction)
        return page

    def next_wake_at(self, workflows: Sequence[tuple[str, str]]) -> float | None:
        """See ``Store.next_wake_at``."""
        with self._opened():
            times = (one.wake_at for one in self._active(workflows) if not one.owner)
            return min((at for at in times if at is not None), default=None)

    # --- nodes ---

    def claim(self, node: str, now_at: float, limit: int, workflows: Sequence[tuple[str, str]]) -> list[Transaction]:
        """See ``Store.claim``; what ``node`` owns already is not among them."""
        with self._opened():
            due = [
                (one.wake_at, one.id, one)
                for one in self._active(workflows)
                if one.wake_at is not None
                and one.wake_at <= now_at
                and one.owner != node
                and not self._is_alive(one.owner, now_at)
            ]
            claimed = [msgspec.structs.replace(one, owner=node, updated_at=now_at) for _, _, one in sorted(due)[:limit]]
            for one in claimed:
                self._put(one)
            return claimed

    def owned(self, node: str) -> list[str]:
        """See ``Store.owned``; in the order of their ids."""
        with self._opened():
            return [one.gid for one in sorted(self._active(), key=lambda one: one.id) if one.owner == node]

    def nudged(self, node: str, since_at: float) -> list[str]:
        """See ``Store.nudged``; in the order of their ids."""
        with self._opened():
            return [
                one.gid
                for one in self._transactions.values()
                if one.owner == node and one.nudged_at is not None and one.nudged_at >= since_at
            ]

    def beat(self, node: str, now_at: float, alive_until_at: float) -> None:
        """See ``Store.beat``; forgetting a dead node cannot be seen from outside, so here it is never done."""
        del now_at
        with self._opened():
            self._alive_until[node] = alive_until_at

    def release(self, node: str, now_at: float) -> None:
        """See ``Store.release``; finished transactions stay as they are."""
        with self._opened():
            for one in [one for one in self._active() if one.owner == node]:
                self._put(msgspec.structs.replace(one, owner="", wake_at=now_at, updated_at=now_at))
            self._alive_until.pop(node, None)
            self._loaded.pop(node, None)

    def declare(self, node: str, workflows: Sequence[tuple[str, str]]) -> None:
        """See ``Store.declare``."""
        with self._opened():
            self._loaded[node] = frozenset(workflows)

    def loaded(self, now_at: float) -> set[tuple[str, str]]:
        """See ``Store.loaded``."""
        with self._opened():
            alive = (workflows for node, workflows in self._loaded.items() if self._is_alive(node, now_at))
            return {pair for workflows in alive for pair in workflows}

    # --- places ---

    def admit(self, node: str, now_at: float, limit: int, rules: Sequence[LimitRule]) -> Admitted:
        """See ``PlaceStore.admit``."""
        with self._opened():
            rows, next_at = self._places.admit(node, now_at, limit, rules)
            for row in rows:
                self._put(row)
            return Admitted(transactions=tuple(rows), next_at=next_at)

    def put_back(self, gid: str, node: str) -> bool:
        """See ``PlaceStore.put_back``."""
        with self._opened():
            row = self._transactions[gid]
            if row.owner != node or row.is_final or not self._places.waits(gid):
                return False
            self._put(msgspec.structs.replace(row, owner="", wake_at=None))
            return True

    def waiting_places(self, gids: Sequence[str]) -> Mapping[str, str]:
        """See ``PlaceStore.waiting_places``."""
        with self._opened():
            return self._places.waiting(gids)

    # --- pieces ---

    def pieces(self, of: InPieces, first: int, limit: int) -> list[bytes]:
        """See ``PieceStore.pieces``."""
        with self._opened():
            return self._pieces.read(of, first, limit)

    def uncounted(self, node: str, now_at: float, limit: int) -> list[str]:
        """See ``PieceStore.uncounted``."""
        with self._opened():
            return self._pieces.uncounted(node, now_at, limit, is_alive=lambda name: self._is_alive(name, now_at))

    def sweep(self, ids: Sequence[str], piece_max: int) -> int:
        """See ``PieceStore.sweep``."""
        with self._opened():
            return self._pieces.sweep(ids, piece_max)

    # --- schedules ---

    def put_schedule(self, schedule: CronSchedule) -> None:
        """See ``ScheduleStore.put_schedule``."""
        with self._opened():
            self._schedules[schedule.name] = schedule

    def delete_schedule(self, name: str) -> bool:
        """See ``ScheduleStore.delete_schedule``."""
        with self._opened():
            return self._schedules.pop(name, None) is not None

    def schedules(self) -> list[CronSchedule]:
        """See ``ScheduleStore.schedules``."""
        with self._opened():
            return self._sorted_schedules()

    def due_schedules(self, now_at: float) -> tuple[list[CronSchedule], float | None]:
        """See ``ScheduleStore.due_schedules``."""
        with self._opened():
            timed = [(one.next_at, one) for one in self._sorted_schedules() if one.next_at is not None]
            return [one for at, one in timed if at <= now_at], min((at for at, _ in timed if at > now_at), default=None)

    def tick(self, tick: Tick) -> bool:
        """See ``ScheduleStore.tick``."""
        with self._opened():
            schedule = self._schedules.get(tick.name)
            if schedule is None or schedule.next_at != tick.at:
                return False
            schedule = moved_on(schedule, tick)
            if tick.write is not None and tick.write.gid not in self._transactions:
                self._write(tick.write)
            self._schedules[tick.name] = schedule
            return True

    def _sorted_schedules(self) -> list[CronSchedule]:
        return [self._schedules[name] for name in sorted(self._schedules)]

    # --- key-values ---

    def kv_page(self, category: str, key: str, *, before_id: int | None, limit: int) -> list[KvEntry]:
        """See ``Store.kv_page``."""
        with self._opened():
            found = (
                entry
                for entry in reversed(self._kv.values())
                if category in ("", entry.category)
                and key in ("", entry.key)
                and (before_id is None or entry.id < before_id)
            )
            return list(itertools.islice(found, limit))

    def kv_put(self, category: str, key: str, value: str, *, version: int, now_at: float) -> None:
        """See ``Store.kv_put``."""
        with self._opened():
            entry = self._kv.get((category, key))
            if version != (0 if entry is None else entry.version):
                raise kv_conflict_of(category, key, version, None if entry is None else entry.version)
            if entry is None:
                self._kv_count += 1
                entry = KvEntry(
                    id=self._kv_count,
                    category=category,
                    key=key,
                    value=value,
                    version=1,
                    created_at=now_at,
                    updated_at=now_at,
                )
            else:
                entry = msgspec.structs.replace(entry, value=value, version=version + 1, updated_at=now_at)
            self._kv[category, key] = entry

    def kv_delete(self, category: str, key: str) -> bool:
        """See ``Store.kv_delete``."""
        with self._opened():
            return self._kv.pop((category, key), None) is not None

    def prune(self, ended_before_at: float, limit: int) -> int:
        """See ``Store.prune``."""
        with self._opened():
            ended = [
                (one.finished_at, one.id, gid)
                for gid, one in self._transactions.items()
                if one.is_final
                and one.finished_at is not None
                and one.finished_at < ended_before_at
                and not self._may_be_asked_for(one)
            ]
            gids = [gid for _, _, gid in sorted(ended)[:limit]]
            for gid in gids:
                del self._transactions[gid], self._histories[gid]
                self._places.forget(gid)
                self._pieces.forget(gid)
            return len(gids)

    def _may_be_asked_for(self, child: Transaction) -> bool:
        """True while the replay of whoever began it may come to where it did."""
        parent = self._transactions.get(child.begun_by)
        if parent is None or parent.is_final or child.finished_at is None:
            return False
        return self._histories[parent.gid][0].at <= child.finished_at

    def empty(self) -> None:
        """See ``Store.empty``."""
        with self._opened():
            self._transactions.clear()
            self._unfinished.clear()
            self._histories.clear()
            self._kv.clear()
            self._pieces = MemoryPieces()
            self._places.clear()
            self._schedules.clear()

    def close(self) -> None:
        """See ``Store.close``."""
        with self._lock:
            self._is_closed = True

    def _is_alive(self, node: str, now_at: float) -> bool:
        return bool(node) and self._alive_until.get(node, float("-inf")) >= now_at

    def _active(self, workflows: Sequence[tuple[str, str]] | None = None) -> Iterator[Transaction]:
        """The unfinished transactions, of these workflows only when they are given."""
        active = (self._transactions[gid] for gid in self._unfinished)
        if workflows is None:
            return active
        loaded = frozenset(workflows)
        return (one for one in active if (one.workflow, one.version) in loaded)

    @contextmanager
    def _opened(self) -> Generator[None]:
        with self._lock:
            if self._is_closed:
                raise JournalClosed("the journal in memory is closed")
            yield


def _matches(transaction: Transaction, wanted: Filter) -> bool:
    return (
        wanted.status in ("", transaction.status)
        and wanted.pattern in ("", transaction.pattern)
        and wanted.workflow in ("", transaction.workflow)
        and (wanted.created_from_at is None or transaction.created_at >= wanted.created_from_at)
        and (wanted.created_to_at is None or transaction.created_at <= wanted.created_to_at)
        and not (wanted.unfinished and transaction.is_final)
        and (transaction.needs_decision or not wanted.needs_decision)
    )
