"""What a transaction costs on a real SQLite file: commits and reads, counted at the driver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, event
from sqlalchemy import Engine as Database

import flowtx
from flowtx_engine.runtime.limits import EngineLimits


async def note(i: int) -> int:
    return i


@flowtx.workflow
async def chain(tx: flowtx.Tx, n: int) -> None:
    for i in range(n):
        await tx.step(note, i)


@contextmanager
def counted() -> Generator[Counter[str]]:
    """Counts commits with something new in the journal, and statements that read the journal.

    The node's own doings, beating and looking for due work, never write the journal and are not counted.
    """
    counts: Counter[str] = Counter()

    def on_statement(connection: Connection, cursor: object, statement: str, *more: object) -> None:
        verb, _, rest = statement.lstrip().upper().partition(" ")
        if verb == "INSERT" and rest.startswith("INTO FLOWTX_JOURNAL"):
            connection.info["writes the journal"] = True
        elif verb in ("SELECT", "WITH") and "FLOWTX_JOURNAL" in rest and "BEGUN_BY" not in rest:  # but retention's
            counts["read"] += 1

    def on_commit(connection: Connection) -> None:
        if connection.info.pop("writes the journal", False):
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
    # Nothing is deleted: whether the first look at what is old comes before or after the run is a matter of luck.
    async with flowtx.open(f"sqlite:///{tmp_path / 'c.db'}", limits=EngineLimits(retention_s=0)) as engine:
        with counted() as counts:
            await engine.run(chain, n, gid="g")
            assert (counts["commit"], counts["read"]) == (n + 1, 0)
            assert len(await engine.history("g")) == n + 2
            assert counts["read"] == 1, "reading is seen when it happens"
