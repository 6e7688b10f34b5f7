"""Watching transactions: who waits for a run to end or to rest is told here.

The law of this file: telling never waits and nobody is told what is not durable.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import trio

from flowtx_engine.journal.records import Transaction


class Watch:
    """The waiters of one engine, by gid."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[_Waiter]] = defaultdict(set)
        self.hears_first: Callable[[Transaction], None] | None = None
        """Is told before the waiters are."""

    def tell(self, transaction: Transaction) -> None:
        """The run of this transaction rests now, or has ended."""
        if self.hears_first is not None:
            self.hears_first(transaction)
        for waiter in self._waiting.pop(transaction.gid, ()):
            waiter.told = transaction
            waiter.event.set()

    async def wait(self, gid: str, timeout_s: float) -> Transaction | None:
        """The transaction at its next rest or end; None when the time is up first."""
        waiter = _Waiter()
        self._waiting[gid].add(waiter)
        try:
            with trio.move_on_after(timeout_s):
                await waiter.event.wait()
        finally:
            waiting = self._waiting.get(gid)
            if waiting is not None:
                waiting.discard(waiter)
                if not waiting:
                    del self._waiting[gid]
        return waiter.told

    def statistics(self) -> int:
        """How many gids somebody waits for."""
        return len(self._waiting)


class _Waiter:
    __slots__ = ("event", "told")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.told: Transaction | None = None
