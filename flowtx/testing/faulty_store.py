"""A journal that fails on purpose, at commits chosen by a plan.

The law of this file: it adds faults and nothing else. What its plan lets pass goes to the store inside unchanged, so
with a plan that never strikes it is that store. It throws no dice: the plan decides, and Hypothesis or a simulator owns
it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence

from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.journal.places import Admitted, LimitRule
from flowtx_engine.journal.records import Filter, JournalRow, KvEntry, Transaction, Write
from flowtx_engine.journal.schedules import CronSchedule, Tick
from flowtx_engine.journal.store import Store, WriteResult


class CommitFault(enum.Enum):
    """How a commit fails: both ways look the same to the caller."""

    NOTHING_WRITTEN = "nothing is written"
    ANSWER_LOST = "all is written, and the answer is lost"


Plan = Callable[[int, Sequence[Write]], CommitFault | None]
"""Gets a commit's ordinal, from 0, and its writes; gives the fault that strikes it, or None."""


def no_faults(ordinal: int, writes: Sequence[Write]) -> CommitFault | None:
    """The plan that never strikes."""
    del ordinal, writes
    return None


class FaultyStore:
    """A ``Store`` around another one; ``commit_count`` is how many commits were tried, failed ones included."""

    def __init__(self, inner: Store, plan: Plan = no_faults) -> None:
        self.is_local: bool = inner.is_local
        self.commit_count = 0
        self._inner = inner
        self._plan = plan

    def __repr__(self) -> str:
        return f"<FaultyStore after {self.commit_count} commits on {self._inner!r}>"

    def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        """See ``Store.commit``; the plan is asked first."""
        ordinal = self.commit_count
        self.commit_count += 1
        match self._plan(ordinal, writes):
            case CommitFault.NOTHING_WRITTEN:
                raise _struck(ordinal)
            case CommitFault.ANSWER_LOST:
                self._inner.commit(writes)
                raise _struck(ordinal)
            case None:
                return self._inner.commit(writes)

    def transaction(self, gid: str) -> Transaction | None:
        """See ``Store.transaction``."""
        return self._inner.transaction(gid)

    def history(self, gid: str, from_seq: int = 0) -> list[JournalRow]:
        """See ``Store.history``."""
        return self._inner.history(gid, from_seq)

    def histories(self, gids: Sequence[str], row_max: int) -> dict[str, list[JournalRow]]:
        """See ``Store.histories``."""
        return self._inner.histories(gids, row_max)

    def transactions(self, wanted: Filter, *, before_id: int | None, limit: int) -> list[Transaction]:
        """See ``Store.transactions``."""
        return self._inner.transactions(wanted, before_id=before_id, limit=limit)

    def claim(self, node: str, now_at: float, limit: int, workflows: Sequence[tuple[str, str]]) -> list[Transaction]:
        """See ``Store.claim``."""
        return self._inner.claim(node, now_at, limit, workflows)

    def next_wake_at(self, workflows: Sequence[tuple[str, str]]) -> float | None:
        """See ``Store.next_wake_at``."""
        return self._inner.next_wake_at(workflows)

    def owned(self, node: str) -> list[str]:
        """See ``Store.owned``."""
        return self._inner.owned(node)

    def nudged(self, node: str, since_at: float) -> list[str]:
        """See ``Store.nudged``."""
        return self._inner.nudged(node, since_at)

    def beat(self, node: str, now_at: float, alive_until_at: float) -> None:
        """See ``Store.beat``."""
        self._inner.beat(node, now_at, alive_until_at)

    def release(self, node: str, now_at: float) -> None:
        """See ``Store.release``."""
        self._inner.release(node, now_at)

    def kv_page(self, category: str, key: str, *, before_id: int | None, limit: int) -> list[KvEntry]:
        """See ``Store.kv_page``."""
        return self._inner.kv_page(category, key, before_id=before_id, limit=limit)

    def kv_put(self, category: str, key: str, value: str, *, version: int, now_at: float) -> None:
        """See ``Store.kv_put``."""
        self._inner.kv_put(category, key, value, version=version, now_at=now_at)

    def kv_delete(self, category: str, key: str) -> bool:
        """See ``Store.kv_delete``."""
        return self._inner.kv_delete(category, key)

    def empty(self) -> None:
        """See ``Store.empty``."""
        self._inner.empty()

    def declare(self, node: str, workflows: Sequence[tuple[str, str]]) -> None:
        """See ``Store.declare``."""
        self._inner.declare(node, workflows)

    def loaded(self, now_at: float) -> set[tuple[str, str]]:
        """See ``Store.loaded``."""
        return self._inner.loaded(now_at)

    def admit(self, node: str, now_at: float, limit: int, rules: Sequence[LimitRule]) -> Admitted:
        """See ``PlaceStore.admit``."""
        return self._inner.admit(node, now_at, limit, rules)

    def put_back(self, gid: str, node: str) -> bool:
        """See ``PlaceStore.put_back``."""
        return self._inner.put_back(gid, node)

    def waiting_places(self, gids: Sequence[str]) -> Mapping[str, str]:
        """See ``PlaceStore.waiting_places``."""
        return self._inner.waiting_places(gids)

    def put_schedule(self, schedule: CronSchedule) -> None:
        """See ``ScheduleStore.put_schedule``."""
        self._inner.put_schedule(schedule)

    def delete_schedule(self, name: str) -> bool:
        """See ``ScheduleStore.delete_schedule``."""
        return self._inner.delete_schedule(name)

    def schedules(self) -> list[CronSchedule]:
        """See ``ScheduleStore.schedules``."""
        return self._inner.schedules()

    def due_schedules(self, now_at: float) -> tuple[list[CronSchedule], float | None]:
        """See ``ScheduleStore.due_schedules``."""
        return self._inner.due_schedules(now_at)

    def tick(self, tick: Tick) -> bool:
        """See ``ScheduleStore.tick``."""
        return self._inner.tick(tick)

    def close(self) -> None:
        """See ``Store.close``."""
        self._inner.close()


def _struck(ordinal: int) -> JournalUnavailable:
    # The message must not tell the two faults apart, for no database would.
    return JournalUnavailable(f"commit {ordinal} was struck by the fault plan", remedy="Find out by reading.")
