"""Key-values beside the transactions: small shared facts such as topics, which every node sees at once.

The law of this file: nothing is kept in memory, so what was written counts from then on, on every node (spec 12.15).
"""

from __future__ import annotations

from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.records import KvEntry
from flowtx_engine.runtime.clock import Clock


class KeyValues:
    """The key-values of an engine's journal; ``JournalUnavailable`` is raised when the database fails."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def get(self, category: str, key: str) -> KvEntry | None:
        """One value, or None."""
        found = await self._journal.kv_page(category, key, before_id=None, limit=1)
        return found[0] if found else None

    async def page(
        self, category: str = "", key: str = "", *, before_id: int | None = None, limit: int = 100
    ) -> list[KvEntry]:
        """A page, newest first; an empty category or key does not restrict."""
        return await self._journal.kv_page(category, key, before_id=before_id, limit=limit)

    async def put(self, category: str, key: str, value: str, *, version: int) -> None:
        """Write on top of the version that was read, 0 when there was none.

        Raises ``ConflictError`` when somebody else was first, and ``UnstorableWrite`` for a value that cannot be kept.
        """
        await self._journal.kv_put(category, key, value, version=version, now_at=self._clock.now_at())

    async def delete(self, category: str, key: str) -> bool:
        """Remove a value; False when there was none."""
        return await self._journal.kv_delete(category, key)
