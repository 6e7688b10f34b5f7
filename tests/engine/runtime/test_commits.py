"""What a transaction costs on a real SQLite file: commits and statements, counted at the driver."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine as Database
from sqlalchemy import event

import flowtx

QUIET = flowtx.EngineLimits(heartbeat_s=3600, poll_s=3600)
"""The node's own life costs a heartbeat now and then; here it beats once."""
TABLES = re.compile(r"\b(flowtx_(?:transactions|journal))\b")


async def note(i: int) -> int:
    return i


@flowtx.workflow
async def chain(tx: flowtx.Tx, n: int) -> None:
    for i in range(n):
        await tx.step(note, i)


@contextmanager
def counted() -> Generator[Counter[str]]:
    """Counts ``commit``, and every ``read`` and ``write`` statement on transactions or their journal."""
    counts: Counter[str] = Counter()

    def on_statement(connection: object, cursor: object, statement: str, *more: object) -> None:
        if TABLES.search(statement):
            counts["read" if statement.lstrip().upper().startswith("SELECT") else "write"] += 1

    def on_commit(connection: object) -> None:
        counts["commit"] += 1

    event.listen(Database, "before_cursor_execute", on_statement)
    event.listen(Database, "commit", on_commit)
    try:
        yield counts
    finally:
        event.remove(Database, "before_cursor_execute", on_statement)
        event.remove(Database, "commit", on_commit)


@pytest.mark.parametrize("n", [1, 2, 7])
async def test_a_chain_of_n_costs_n_plus_one_commits_and_no_read(tmp_path: Path, n: int) -> None:
    async with flowtx.open(f"sqlite:///{tmp_path / 'c.db'}", limits=QUIET) as engine:
        await engine.run(chain, 1)
        with counted() as counts:
            await engine.run(chain, n)
        assert counts["commit"] == n + 1
        assert counts["read"] == 0, "a run that never crashed never reads its journal"
        # The start writes the row and its event, each step an event, the end an event and the row.
        assert counts["write"] == 2 + n + 1
