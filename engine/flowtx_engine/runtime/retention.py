"""Retention: what has ended is deleted after a time, a little at a time.

The law of this file: only what is final is ever deleted, and never so much at once that a commit has to wait for long.
Every node does it; what one of them has deleted the others do not find.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.runtime.tools import Tools

log = logging.getLogger("flowtx.retention")

BREATH_S = 0.05
"""The pause between two batches: others want to write, too."""


class Pruner:
    """One node's part in deleting what is kept no longer."""

    def __init__(self, tools: Tools, *, is_on: Callable[[], bool]) -> None:
        """Nothing is deleted while ``is_on`` says so."""
        self._tools = tools
        self._is_on = is_on
        self._look = trio.Event()

    def look(self) -> None:
        """The time has moved: look now instead of at the next pause."""
        self._look.set()

    async def serve(self) -> None:
        """Delete what is over, until cancelled; returns at once when everything is kept for ever."""
        while self._tools.limits.retention_s:
            self._look = trio.Event()
            if self._is_on():
                await self._prune()
            with trio.move_on_after(self._tools.limits.prune_pause_s):
                await self._look.wait()

    async def _prune(self) -> None:
        limits, deleted = self._tools.limits, 0
        before_at = self._tools.clock.now_at() - limits.retention_s
        try:
            while count := await self._tools.journal.prune(before_at, limits.prune_max):
                deleted += count
                await trio.sleep(BREATH_S)
        except JournalUnavailable as error:
            log.warning("what has ended long ago could not be deleted: %s", error)
        if deleted:
            log.info("deleted %d transactions that had ended more than %g s ago", deleted, limits.retention_s)
