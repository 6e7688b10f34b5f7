"""A database that is away while a run is read up hurts nobody for longer than it is away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest
import trio
import trio.testing

import flowtx
from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.records import JournalRow, Transaction

OpenEngine = Callable[..., AbstractAsyncContextManager[flowtx.Engine]]


class Away(MemoryStore):
    """A store whose journal cannot be read while ``is_away``; it counts how often that was tried."""

    is_away = False
    tried_count = 0

    def history(self, gid: str, from_seq: int = 0) -> list[JournalRow]:
        self._answer()
        return super().history(gid, from_seq)

    def histories(self, gids: Sequence[str], row_max: int) -> dict[str, list[JournalRow]]:
        self._answer()
        return super().histories(gids, row_max)

    def transaction(self, gid: str) -> Transaction | None:
        self._answer()
        return super().transaction(gid)

    def owned(self, node: str) -> list[str]:
        self._answer()
        return super().owned(node)

    def release(self, node: str, now_at: float) -> None:
        self._answer()
        super().release(node, now_at)

    def _answer(self) -> None:
        if self.is_away:
            self.tried_count += 1
            raise JournalUnavailable("the database does not answer (simulated)")


@flowtx.workflow
async def nap(tx: flowtx.Tx) -> str:
    await tx.sleep(100)
    return "rested"


@pytest.mark.parametrize("away_s", [0.5, 50])
async def test_a_run_that_cannot_be_read_is_read_when_the_database_answers(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine, away_s: float
) -> None:
    store = Away()
    async with open_engine([nap], on=store) as engine:
        await engine.start(nap, gid="g")
        await trio.sleep(99.9)
        store.is_away = True
        await trio.sleep(away_s)
        assert store.tried_count > 0
        store.is_away = False
        assert await engine.wait("g") == "rested"
        assert trio.current_time() < 100 + away_s + 20
        assert store.tried_count < 100, "nobody asks again and again meanwhile"


async def test_an_engine_is_left_though_its_database_is_away(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine, caplog: pytest.LogCaptureFixture
) -> None:
    store = Away()
    async with open_engine([nap], on=store) as engine:
        await engine.start(nap, gid="g")
        store.is_away = True
    assert "what this node had could not be given back; others take it up in two heartbeats" in caplog.text
    store.is_away = False
    row = store.transaction("g")
    assert row is not None
    assert row.owner, "what a dead node owned is found by that"
