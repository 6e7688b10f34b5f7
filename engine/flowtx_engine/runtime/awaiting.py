"""Awaiting a run: its end, its rest, and what it returned.

The law of this file: what is told is durable. What comes about on this node is told at once; what other nodes do is
looked at from time to time.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flowtx_dsl.codec import Decoder
from flowtx_dsl.error_codec import ErrorRecord, decode_error
from flowtx_dsl.errors import TransactionFailed
from flowtx_engine.journal.records import Transaction
from flowtx_engine.runtime.looking import must_find
from flowtx_engine.runtime.node import Node
from flowtx_engine.runtime.tools import Tools

PARKED_POLLS = 10
"""A transaction in nobody's memory is looked at this many times more seldom than one that another node drives."""


class Awaiting:
    """Waits for the runs of one engine's journal, whoever drives them."""

    def __init__(self, node: Node, tools: Tools) -> None:
        self._node = node
        self._tools = tools

    async def end(self, gid: str) -> Transaction:
        """The transaction once it is final.

        Raises ``NoSuchTransaction``, and what keeps the run from going on here, such as ``NondeterminismError``.
        """
        node, watch, poll_s = self._node, self._tools.watch, self._tools.limits.poll_s
        while True:
            if gid in node.stuck:
                raise node.stuck[gid]
            driver = node.active.get(gid)
            if driver is None:
                row = await must_find(self._tools.journal, gid)
                if row.is_final:
                    return row
                if gid not in node.active and gid not in node.stuck:
                    # Its end is told at once when it comes about here; these looks are for what other nodes do.
                    await watch.wait(gid, poll_s if row.owner else PARKED_POLLS * poll_s)
                continue
            if driver.transaction.is_final:
                return driver.transaction
            told = await watch.wait(gid, float("inf"))
            if told is not None and told.is_final:
                return told

    async def rest(self, gid: str, *, timeout_s: float) -> Transaction:
        """The transaction when its run ends or rests, or when the time is up; raises ``NoSuchTransaction``."""
        driver = self._node.active.get(gid)
        if driver is None:
            return await must_find(self._tools.journal, gid)
        if driver.is_resting:
            return driver.transaction
        told = await self._tools.watch.wait(gid, timeout_s)
        return told if told is not None else driver.transaction

    async def change(self, gid: str) -> None:
        """Until a run of this node rests or ends, or until it is time to look at what other nodes do."""
        await self._tools.watch.wait(gid, self._tools.limits.poll_s)


def result_of(row: Transaction, wanted: Decoder) -> Any:
    """What a final transaction returned; raises ``TransactionFailed`` and ``PayloadError``."""
    assert row.result is not None, row
    if row.status == "failed":
        error = msgspec.json.decode(row.result, type=ErrorRecord | None)
        cause = decode_error(error) if error is not None else None
        raise TransactionFailed(row.gid, row.reason) from cause
    return wanted.decode(row.result, what=f"the result of {row.gid}")
