"""What keeps a run from going on although it could: no node has its code, or its limit has no room for it.

The law of this file: it says what the journal says. A node counts as long as its lease; what it has loaded it has said
itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flowtx_engine.journal.records import Filter, Transaction
from flowtx_engine.journal.store import Store

PAGE = 500
"""So many rows are read at once while those that are hindered are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindrances:
    """What is loaded on the nodes that are alive, and who waits for a place, by gid and under which key."""

    loaded: Collection[tuple[str, str]] = frozenset()
    places: Mapping[str, str] = field(default_factory=dict[str, str])

    def of(self, row: Transaction) -> str:
        """Why a run does not go on, "" when nothing hinders it."""
        if row.is_final or row.status == "prepared":
            return ""
        if (row.workflow, row.version) not in self.loaded:
            return f"a node with {row.workflow} version {row.version}"
        if row.gid in self.places:
            key = self.places[row.gid]
            return f"a free place under {key!r}" if key else "a free place"
        return ""


def hindrances_of(store: Store, rows: Sequence[Transaction], *, now_at: float) -> Hindrances:
    """What hinders any of these rows."""
    unfinished = [row.gid for row in rows if not row.is_final]
    if not unfinished:
        return Hindrances()
    return Hindrances(loaded=store.loaded(now_at), places=store.waiting_places(unfinished))


def hindered(store: Store, wanted: Filter, *, now_at: float) -> Iterator[tuple[Transaction, str]]:
    """The rows that something hinders, newest first, and what."""
    before_id: int | None = None
    while page := store.transactions(wanted, before_id=before_id, limit=PAGE):
        found = hindrances_of(store, page, now_at=now_at)
        for row in page:
            why = found.of(row)
            if why:
                yield row, why
        before_id = page[-1].id
