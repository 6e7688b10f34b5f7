"""A store before a store: whatever is asked of it is asked of the one behind.

The law of this file: it adds nothing. Stores that change, count or spoil something on the way derive from it and say
only what that is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flowtx_engine.journal.places import Admitted, LimitRule
from flowtx_engine.journal.records import Filter, InPieces, JournalRow, KvEntry, Transaction, Write
from flowtx_engine.journal.schedules import CronSchedule, Tick
from flowtx_engine.journal.store import Store, WriteResult


class StoreBefore:
    """A ``Store`` before another one; closing it closes that."""

    def __init__(self, inner: Store) -> None:
        self.is_local: bool = inner.is_local
        self._inner = inner

    @property
    def _store(self) -> Store:
        """The store behind, for one call."""
        return self._inner

    def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        """See ``Store.commit``."""
        return self._store.commit(writes)

    def transaction(self, gid: str) -> Transaction | None:
        """See ``Store.transaction``."""
        return self._store.transaction(gid)

    def history(self, gid: str, from_seq: int = 0) -> list[JournalRow]:
        """See ``Store.history``."""
        return self._store.history(gid, from_seq)

    def histories(self, gids: Sequence[str], row_max: int) -> dict[str, list[JournalRow]]:
        """See ``Store.histories``."""
        return self._store.histories(gids, row_max)

    def transactions(self, wanted: Filter, *, before_id: int | None, limit: int) -> list[Transaction]:
        """See ``Store.transactions``."""
        return self._store.transactions(wanted, before_id=before_id, limit=limit)

    def claim(self, node: str, now_at: float, limit: int, workflows: Sequence[tuple[str, str]]) -> list[Transaction]:
        """See ``Store.claim``."""
        return self._store.claim(node, now_at, limit, workflows)

    def next_wake_at(self, workflows: Sequence[tuple[str, str]]) -> float | None:
        """See ``Store.next_wake_at``."""
        return self._store.next_wake_at(workflows)

    def owned(self, node: str) -> list[str]:
        """See ``Store.owned``."""
        return self._store.owned(node)

    def nudged(self, node: str, since_at: float) -> list[str]:
        """See ``Store.nudged``."""
        return self._store.nudged(node, since_at)

    def beat(self, node: str, now_at: float, alive_until_at: float) -> None:
        """See ``Store.beat``."""
        self._store.beat(node, now_at, alive_until_at)

    def release(self, node: str, now_at: float) -> None:
        """See ``Store.release``."""
        self._store.release(node, now_at)

    def kv_page(self, category: str, key: str, *, before_id: int | None, limit: int) -> list[KvEntry]:
        """See ``Store.kv_page``."""
        return self._store.kv_page(category, key, before_id=before_id, limit=limit)

    def kv_put(self, category: str, key: str, value: str, *, version: int, now_at: float) -> None:
        """See ``Store.kv_put``."""
        self._store.kv_put(category, key, value, version=version, now_at=now_at)

    def kv_delete(self, category: str, key: str) -> bool:
        """See ``Store.kv_delete``."""
        return self._store.kv_delete(category, key)

    def prune(self, ended_before_at: float, limit: int) -> int:
        """See ``Store.prune``."""
        return self._store.prune(ended_before_at, limit)

    def empty(self) -> None:
        """See ``Store.empty``."""
        self._store.empty()

    def declare(self, node: str, workflows: Sequence[tuple[str, str]]) -> None:
        """See ``Store.declare``."""
        self._store.declare(node, workflows)

    def loaded(self, now_at: float) -> set[tuple[str, str]]:
        """See ``Store.loaded``."""
        return self._store.loaded(now_at)

    def admit(self, node: str, now_at: float, limit: int, rules: Sequence[LimitRule]) -> Admitted:
        """See ``PlaceStore.admit``."""
        return self._store.admit(node, now_at, limit, rules)

    def put_back(self, gid: str, node: str) -> bool:
        """See ``PlaceStore.put_back``."""
        return self._store.put_back(gid, node)

    def waiting_places(self, gids: Sequence[str]) -> Mapping[str, str]:
        """See ``PlaceStore.waiting_places``."""
        return self._store.waiting_places(gids)

    def put_schedule(self, schedule: CronSchedule) -> None:
        """See ``ScheduleStore.put_schedule``."""
        self._store.put_schedule(schedule)

    def delete_schedule(self, name: str) -> bool:
        """See ``ScheduleStore.delete_schedule``."""
        return self._store.delete_schedule(name)

    def schedules(self) -> list[CronSchedule]:
        """See ``ScheduleStore.schedules``."""
        return self._store.schedules()

    def due_schedules(self, now_at: float) -> tuple[list[CronSchedule], float | None]:
        """See ``ScheduleStore.due_schedules``."""
        return self._store.due_schedules(now_at)

    def tick(self, tick: Tick) -> bool:
        """See ``ScheduleStore.tick``."""
        return self._store.tick(tick)

    def pieces(self, of: InPieces, first: int, limit: int) -> list[bytes]:
        """See ``PieceStore.pieces``."""
        return self._store.pieces(of, first, limit)

    def uncounted(self, node: str, now_at: float, limit: int) -> list[str]:
        """See ``PieceStore.uncounted``."""
        return self._store.uncounted(node, now_at, limit)

    def sweep(self, ids: Sequence[str], piece_max: int) -> int:
        """See ``PieceStore.sweep``."""
        return self._store.sweep(ids, piece_max)

    def close(self) -> None:
        """See ``Store.close``."""
        self._store.close()
