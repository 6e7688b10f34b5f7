"""Versions side by side: new runs take the one passed, those in flight stay on theirs, and wait for its code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from trio.testing import MockClock

import flowtx
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.runtime.engine import Engine

OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]


async def ship(order: str) -> str:
    return order


@flowtx.workflow(name="fulfil", version="1")
async def fulfil_1(tx: flowtx.Tx, order: str) -> str:
    await tx.sleep(100)
    return f"{await tx.step(ship, order)} by version 1"


@flowtx.workflow(name="fulfil", version="2")
async def fulfil_2(tx: flowtx.Tx, order: str) -> str:
    return f"{await tx.step(ship, order)} by version 2"


async def test_runs_in_flight_stay_on_their_version_and_new_ones_take_the_one_passed(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        await engine.start(fulfil_1, "a", gid="old")
    async with open_engine([fulfil_1, fulfil_2]) as engine:
        assert await engine.run(fulfil_2, "b") == "b by version 2"
        assert await engine.wait("old") == "a by version 1"
        assert await engine.run(fulfil_1, "c") == "c by version 1"


async def test_a_run_whose_code_is_loaded_nowhere_waits_and_goes_on_when_it_comes(
    autojump_clock: MockClock, open_engine: OpenEngine, store: MemoryStore
) -> None:
    async with open_engine() as engine:
        await engine.start(fulfil_1, "a", gid="old")
    async with open_engine([fulfil_2]) as engine:
        await trio.sleep(1000)
        row = await engine.transaction("old")
        assert row is not None
        assert (row.owner, row.is_final) == ("", False)
        assert store.loaded(engine.now_at()) == {("fulfil", "2")}
    async with open_engine([fulfil_1]) as engine:
        assert await engine.wait("old") == "a by version 1"
        assert store.loaded(engine.now_at()) == {("fulfil", "1")}
    assert store.loaded(engine.now_at()) == set()


async def test_what_is_loaded_later_is_told_too(
    autojump_clock: MockClock, open_engine: OpenEngine, store: MemoryStore
) -> None:
    async with open_engine([fulfil_1]) as engine:
        await engine.run(fulfil_2, "b")
        await trio.sleep(1)
        assert store.loaded(engine.now_at()) == {("fulfil", "1"), ("fulfil", "2")}


async def test_two_functions_under_one_name_and_version_are_refused(open_engine: OpenEngine) -> None:
    @flowtx.workflow(name="fulfil", version="2")
    async def other(tx: flowtx.Tx, order: str) -> str:
        return order

    with pytest.raises(flowtx.WorkflowError, match="'fulfil' version 2"):
        async with open_engine([fulfil_2, other]):
            pass
