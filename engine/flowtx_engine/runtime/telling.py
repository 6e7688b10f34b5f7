"""Telling a run something from outside: through its driver when it is driven here, else straight behind the fence.

The law of this file: it returns when what was told is durable, and then somebody drives the run on.
"""

from __future__ import annotations

import trio

from flowtx_dsl.errors import FlowtxError
from flowtx_engine.journal.errors import ConflictError, JournalUnavailable
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import Began, Event, External, Signalled, Stopped
from flowtx_engine.runtime.looking import events_of, must_find
from flowtx_engine.runtime.node import Node
from flowtx_engine.runtime.outside import Decide, Told, stopped, write_of
from flowtx_engine.runtime.tools import Tools


class AlreadyFinal(FlowtxError):
    """The transaction has ended; ``status`` says how."""

    def __init__(self, gid: str, status: str) -> None:
        super().__init__(f"transaction {gid} has ended: {status}")
        self.status = status


def putting(fact: External) -> Decide:
    """What puts a fact into a run that has not ended; it raises ``AlreadyFinal``."""

    def decide(row: Transaction, events: list[Event]) -> Told | None:
        if row.is_final:
            if has_come(events, fact):
                return None  # repeated by somebody whose answer was lost: it has been told
            raise AlreadyFinal(row.gid, row.status)
        return stopped(events, fact.reason) if isinstance(fact, Stopped) else Told(facts=(fact,))

    return decide


class Telling:
    """What one engine tells the runs of its journal, whoever drives them."""

    def __init__(self, node: Node, tools: Tools) -> None:
        self._node = node
        self._tools = tools

    async def put(self, gid: str, fact: External) -> None:
        """Put a fact into a run's journal; raises ``NoSuchTransaction`` and ``AlreadyFinal``."""
        driver = self._node.active.get(gid)
        if driver is None or not await driver.put(fact):
            await self.tell(gid, putting(fact))

    async def tell(self, gid: str, decide: Decide) -> Transaction:
        """Append what ``decide`` makes of a transaction as it stands, and return its row; see ``Engine.tell``."""
        while True:
            # In this order: if the row is newer than the journal that was read, the fence says so.
            events = await events_of(self._tools.journal, gid)
            row = await must_find(self._tools.journal, gid)
            if not events:
                continue  # it was stored between the two looks
            told = decide(row, events)
            if told is None:
                return row
            written = await self._append(row, events, told)
            if written is not None:
                return written

    async def _append(self, row: Transaction, events: list[Event], told: Told) -> Transaction | None:
        """Append to a transaction's journal and see that it is driven on; None when somebody else was first."""
        tools = self._tools
        takes_over = told.wakes and not row.owner and self._node.can_take(row)
        if told.is_hastening and not self._node.recovers:
            takes_over = False  # it is due now, and waits for whoever says that time has come
        owner = tools.node if takes_over else row.owner
        write, row = write_of(row, events, told, now_at=tools.clock.now_at(), owner=owner)
        # Shielded, because a caller that goes away meanwhile must not leave behind what nobody drives.
        with trio.CancelScope(shield=True):
            try:
                await tools.journal.append(write)
            except ConflictError:
                return None
            except JournalUnavailable:
                self._node.answer_was_lost()
                raise
            self._node.told(row, takes_over=takes_over)
        return row


def has_come(events: list[Event], fact: External) -> bool:
    """True when a signal of this key is in the history already, or came before the run began again."""
    if not isinstance(fact, Signalled) or not fact.key:
        return False
    facts = [event.fact for event in events]
    return any(
        fact.key in came.heard if isinstance(came, Began) else isinstance(came, Signalled) and came.key == fact.key
        for came in facts
    )
