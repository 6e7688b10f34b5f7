"""Prefetching: the histories of transactions that were claimed together, read in one go.

The law of this file: it is a short cut and nothing else. Whoever finds nothing here reads for itself; what others
append after the reading is noticed as always, by the fence or by being told.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from flowtx_engine.journal.errors import JournalError
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.records import JournalRow

ROWS_MAX = 20_000
"""So many rows are read at once: the histories of a claim are in memory together, until their drivers have them."""


class Prefetch:
    """The histories of one claim."""

    def __init__(self, journal: Journal, gids: Sequence[str]) -> None:
        self._journal = journal
        self._gids = gids
        self._done = trio.Event()
        self._histories: dict[str, list[JournalRow]] = {}

    async def read(self) -> None:
        """Read them; to be started once."""
        try:
            self._histories = await self._journal.histories(self._gids, ROWS_MAX)
        except JournalError:
            pass  # each of them will say so, or find that it has passed
        finally:
            self._done.set()

    async def take(self, gid: str) -> list[JournalRow] | None:
        """A history, once; None when it has to be read by itself."""
        await self._done.wait()
        return self._histories.pop(gid, None)


async def history_of(journal: Journal, gid: str, prefetch: Prefetch | None) -> list[JournalRow]:
    """A history as it was prefetched, else as it is now."""
    found = await prefetch.take(gid) if prefetch is not None else None
    return await journal.whole(gid, found) if found is not None else await journal.history(gid)
