"""Taking up what is due: histories are read together, and what there is no room for is taken as soon as there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from trio.testing import MockClock

import flowtx
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.records import JournalRow
from flowtx_engine.runtime.engine import Engine
from flowtx_engine.runtime.limits import EngineLimits

OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]

GIDS = [f"g{number}" for number in range(6)]


async def note(number: int) -> int:
    await trio.sleep(1)
    return number


@flowtx.workflow
async def two_steps(tx: flowtx.Tx, number: int) -> int:
    await tx.step(note, number)
    await tx.sleep(3600)
    return await tx.step(note, number + 1)


class CountingStore(MemoryStore):
    """Counts how histories are read, and can lose the answer of reading several."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []
        self.fails = False

    def history(self, gid: str, from_seq: int = 0) -> list[JournalRow]:
        self.reads.append(1)
        return super().history(gid, from_seq)

    def histories(self, gids: Sequence[str], row_max: int) -> dict[str, list[JournalRow]]:
        self.reads.append(len(gids))
        if self.fails:
            raise flowtx.JournalUnavailable("the database is away (simulated)")
        return super().histories(gids, row_max)


async def finish_all(store: CountingStore, open_engine: OpenEngine) -> None:
    """Begin all, let the engine go, and finish them with another one."""
    async with open_engine(on=store) as engine:
        for number, gid in enumerate(GIDS):
            await engine.start(two_steps, number, gid=gid)
        await trio.sleep(10)
    await trio.sleep(3600)
    store.reads.clear()
    async with open_engine([two_steps], on=store) as engine:
        assert [await engine.wait(gid) for gid in GIDS] == [1, 2, 3, 4, 5, 6]


async def test_what_is_claimed_together_is_read_together(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    store = CountingStore()
    await finish_all(store, open_engine)
    assert store.reads == [len(GIDS)]


async def test_what_cannot_be_read_together_is_read_one_by_one(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    store = CountingStore()
    store.fails = True
    await finish_all(store, open_engine)
    assert store.reads == [len(GIDS)] + [1] * len(GIDS)


@pytest.mark.parametrize("room", [1, 2, 4])
async def test_what_there_is_no_room_for_is_taken_when_there_is(
    autojump_clock: MockClock, open_engine: OpenEngine, room: int
) -> None:
    limits = EngineLimits(active_max=room, poll_s=86_400.0, heartbeat_s=86_400.0)
    async with open_engine(limits=limits) as engine:
        for number, gid in enumerate(GIDS):
            await engine.start(two_steps, number, gid=gid, delay_s=60)
        for gid in GIDS:
            await engine.wait(gid)
        assert trio.current_time() < 60 + 2 * 3600, "nobody waited for the next poll, a day later"
