"""Sweeping: pieces of large payloads that no event will ever name are deleted, a few at a time.

The law of this file: it may be wrong about who still writes, and nothing comes of it but work that is done twice; see
``journal/pieces.py``. So it needs no lease, and every node does it.
"""

from __future__ import annotations

import logging

import trio

from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.runtime.tools import Tools

log = logging.getLogger("flowtx.sweeping")

SWEEP_HEARTBEATS = 5
"""After so many heartbeats a node looks again; the pieces of one that died are nobody's two after its last."""
PAYLOADS_MAX = 100
"""So many payloads are looked for at once."""
PIECES_MAX = 8
"""So many pieces are deleted in one database transaction: others want to write, too."""
BREATH_S = 0.05
"""The pause between two of these."""


async def sweep_for_ever(tools: Tools) -> None:
    """Sweep now and then, until cancelled."""
    while True:
        try:
            deleted_count = await sweep(tools)
            if deleted_count:
                log.info("deleted %d pieces of large payloads that nothing names", deleted_count)
        except JournalUnavailable as error:
            log.warning("pieces that nothing names could not be deleted: %s", error)
        await trio.sleep(SWEEP_HEARTBEATS * tools.limits.heartbeat_s)


async def sweep(tools: Tools) -> int:
    """Delete what nobody is writing, as far as this node can know; returns how many pieces that were."""
    journal, node = tools.journal, tools.node
    deleted_count = 0
    while True:
        found = await journal.uncounted(node, tools.clock.now_at(), PAYLOADS_MAX)
        ids = [id for id in found if not journal.is_under_way(id)]
        if not ids:
            return deleted_count
        while count := await journal.sweep(ids, PIECES_MAX):
            deleted_count += count
            await trio.sleep(BREATH_S)
