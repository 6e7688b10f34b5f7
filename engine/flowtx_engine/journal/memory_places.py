"""Places in memory: the meaning of ``PlaceStore`` in its plainest form, as ``memory.py`` is for the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from flowtx_engine.journal.places import LimitRule, earlier, next_look_at
from flowtx_engine.journal.records import NewPlace, Transaction


class _Place:
    __slots__ = ("admitted_at", "due_at", "gid", "key")

    def __init__(self, gid: str, new: NewPlace) -> None:
        self.gid = gid
        self.key = new.key
        self.due_at = new.due_at
        self.admitted_at: float | None = None


class MemoryPlaces:
    """The places of one ``MemoryStore``, which holds its lock around every call."""

    def __init__(self, row_of: Callable[[str], Transaction]) -> None:
        self._row_of = row_of
        self._places: dict[str, _Place] = {}

    def add(self, gid: str, new: NewPlace) -> None:
        """A new transaction waits."""
        self._places[gid] = _Place(gid, new)

    def forget(self, gid: str) -> None:
        """A transaction is deleted, and its place with it."""
        self._places.pop(gid, None)

    def clear(self) -> None:
        """Nobody waits, and nobody holds a place."""
        self._places.clear()

    def admit(
        self, node: str, now_at: float, limit: int, rules: Sequence[LimitRule]
    ) -> tuple[list[Transaction], float | None]:
        """The rows as they are from now on, for the store to keep; see ``PlaceStore.admit``."""
        admitted: list[Transaction] = []
        next_at: float | None = None
        for rule in rules:
            mine = [place for place in self._places.values() if self._row_of(place.gid).workflow == rule.workflow]
            unfinished = [place for place in mine if not self._row_of(place.gid).is_final]
            for key in sorted({place.key for place in unfinished if place.admitted_at is None}):
                of_key = [place for place in mine if place.key == key]
                waiting = sorted(
                    (place for place in unfinished if place.key == key and place.admitted_at is None),
                    key=lambda place: (place.due_at, self._row_of(place.gid).id),
                )
                held = sum(place.admitted_at is not None for place in unfinished if place.key == key)
                free = float("inf") if rule.concurrency is None else rule.concurrency - held
                recent = self._recent(rule, of_key, now_at)
                room = min(free, limit - len(admitted))
                if rule.per_s is not None:
                    room = min(room, rule.burst - len(recent))
                taken: list[_Place] = []
                for place in waiting:
                    row = self._row_of(place.gid)
                    is_ready = place.due_at <= now_at and row.owner == "" and row.version in rule.versions
                    if is_ready and len(taken) < room:
                        place.admitted_at = now_at
                        taken.append(place)
                        row = msgspec.structs.replace(row, owner=node, wake_at=now_at, updated_at=now_at)
                        admitted.append(row)
                first_due_at = next((place.due_at for place in waiting if place.admitted_at is None), None)
                recent += [now_at] * (len(taken) if rule.per_s is not None else 0)
                look_at = next_look_at(
                    rule, now_at=now_at, free=free - len(taken), recent=recent, first_due_at=first_due_at
                )
                next_at = earlier(next_at, look_at)
        return admitted, next_at

    def _recent(self, rule: LimitRule, places: Sequence[_Place], now_at: float) -> list[float]:
        if rule.per_s is None:
            return []
        times = (place.admitted_at for place in places if place.admitted_at is not None)
        return sorted(at for at in times if at + rule.window_s > now_at)

    def waits(self, gid: str) -> bool:
        """True when a transaction is not admitted yet."""
        place = self._places.get(gid)
        return place is not None and place.admitted_at is None

    def waiting(self, gids: Sequence[str]) -> Mapping[str, str]:
        """See ``PlaceStore.waiting_places``."""
        return {gid: self._places[gid].key for gid in gids if self.waits(gid) and not self._row_of(gid).is_final}
