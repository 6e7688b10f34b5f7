"""Appending until it is known whether the write is in the journal.

The law of this file: a commit whose answer was lost is resolved by reading seq, never by guessing. The primary key lets
in one write at a seq, so whoever reads the rows there knows: they are ours, they are another's, or there are none yet.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import trio

from flowtx_engine.journal.checks import conflict_of
from flowtx_engine.journal.errors import ConflictError, JournalClosed, JournalUnavailable
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.pieces import Large
from flowtx_engine.journal.records import Write

log = logging.getLogger("flowtx.journal")

PAUSE_MAX_S = 5.0


async def append_surely(journal: Journal, write: Write, *, pause_s: float, pause_max_s: float = PAUSE_MAX_S) -> None:
    """Return when the write is durable, however long the database is away.

    Pauses double from ``pause_s`` up to ``pause_max_s``. Raises ``ConflictError`` when the journal holds other rows
    where these belong, ``UnstorableWrite`` when the database cannot hold a value, and ``JournalClosed``, the write's
    outcome unknown, when the journal was closed. Can be cancelled; the outcome is unknown then too.
    """
    pauses = _doubling(pause_s, pause_max_s)
    answer_was_lost = False
    cut = journal.cut(write)
    with journal.under_way(cut):
        while True:
            try:
                return await _attempt(journal, cut, answer_was_lost=answer_was_lost)
            except JournalClosed:
                raise
            except JournalUnavailable as error:
                answer_was_lost = True
                pause = next(pauses)
                # Not a warning: the journal has given one for the whole batch, and there may be thousands waiting here.
                log.debug("%s: %s; looking in %.3g s", write, error.message, pause)
            await trio.sleep(pause)


async def _attempt(journal: Journal, write: Write | Large, *, answer_was_lost: bool) -> None:
    if answer_was_lost and await _is_in(journal, write):
        return
    try:
        await journal.append(write)
    except ConflictError:
        # What is in the way can be our own earlier attempt, which was still on its way when we looked.
        if not (answer_was_lost and await _is_in(journal, write)):
            raise


async def _is_in(journal: Journal, appended: Write | Large) -> bool:
    """True when the write's rows are there, False when nothing is; raises ``ConflictError`` for anything else."""
    write = appended if isinstance(appended, Write) else appended.write
    kept = tuple(row for row in write.rows if write.keeps_from is None or row.seq >= write.keeps_from)
    rows = await journal.stored_history(write.gid, write.rows[0].seq)
    if not rows:
        return False
    # What others appended behind ours does not matter: ours are in.
    if tuple(rows[: len(kept)]) == kept:
        return True
    raise conflict_of(write, rows[-1].seq + 1)


def _doubling(pause_s: float, pause_max_s: float) -> Iterator[float]:
    while True:
        yield min(pause_s, pause_max_s)
        pause_s *= 2
