"""Retention: what has ended is deleted after its time, what has not never is, and no child before its time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

import flowtx
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.runtime.engine import Engine
from flowtx_engine.runtime.limits import EngineLimits

OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]

DAY_S = 86_400.0
A_WEEK = EngineLimits(heartbeat_s=DAY_S, poll_s=DAY_S, prune_pause_s=3_600)
"""The retention there is by itself, and a node that looks seldom, so that weeks pass fast."""
calls: list[str] = []


@pytest.fixture(autouse=True)
def forget_calls() -> None:
    calls.clear()


async def note(what: str) -> str:
    calls.append(what)
    return what


@flowtx.workflow
async def report(tx: flowtx.Tx, what: str) -> str:
    return await tx.step(note, what)


@flowtx.workflow
async def waits(tx: flowtx.Tx) -> str:
    return await tx.signal("go", type=str)


async def gids_of(engine: Engine) -> list[str]:
    return sorted(row.gid for row in await engine.transactions())


async def test_what_has_ended_is_deleted_after_a_week_and_what_waits_is_not(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine(limits=A_WEEK) as engine:
        for number in range(1_000):
            await engine.start(report, "x", gid=f"g{number}")
        await engine.wait("g999")
        await engine.start(waits, gid="waits")
        await trio.sleep(7 * DAY_S - 4_000)
        assert len(await engine.transactions(limit=2_000)) == 1_001
        await trio.sleep(8_000)
        assert await gids_of(engine) == ["waits"]
        assert await engine.history("g0") == []
        await engine.signal("waits", "go", "on")
        assert await engine.wait("waits") == "on"


async def test_everything_is_kept_where_retention_is_zero(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine(limits=replace(A_WEEK, retention_s=0)) as engine:
        await engine.run(report, "x", gid="g")
        await trio.sleep(400 * DAY_S)
        assert await gids_of(engine) == ["g"]


async def test_a_gid_that_was_deleted_begins_anew(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine(limits=replace(A_WEEK, retention_s=3600)) as engine:
        assert [await engine.run(report, "x", gid="g") for _ in range(2)] == ["x", "x"]
        assert calls == ["x"]
        await trio.sleep(7_500)
        assert await engine.run(report, "x", gid="g") == "x"
        assert calls == ["x", "x"]


@pytest.mark.parametrize("detached", [False, True])
async def test_a_child_is_kept_for_the_replay_of_its_parent_and_does_its_work_once(
    detached: bool, autojump_clock: MockClock, open_engine: OpenEngine, store: MemoryStore
) -> None:
    @flowtx.workflow
    async def parent(tx: flowtx.Tx) -> str:
        if detached:
            await tx.detach(report, "child", gid="child")
        else:
            with pytest.raises(flowtx.TransactionFailed):
                await tx.child(fails, "child", gid="child")
        await tx.sleep(30 * DAY_S)
        return "done"

    @flowtx.workflow
    async def fails(tx: flowtx.Tx, what: str) -> None:
        await tx.step(note, what)
        if what:
            raise flowtx.Abort("no")

    async with open_engine([parent, report, fails], limits=A_WEEK) as engine:
        await engine.start(parent, gid="parent")
        await trio.sleep(20 * DAY_S)
        assert await gids_of(engine) == ["child", "parent"]
    async with open_engine([parent, report, fails], limits=A_WEEK) as engine:
        assert await engine.wait("parent") == "done"
        assert calls == ["child"]
        await trio.sleep(8 * DAY_S)
        assert await gids_of(engine) == []


async def test_the_children_of_a_loop_that_never_ends_are_deleted(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    @flowtx.workflow
    async def for_ever(tx: flowtx.Tx, number: int) -> None:
        await tx.detach(report, f"{number}", gid=f"child{number}")
        await tx.sleep(DAY_S)
        tx.restart(number + 1)

    async with open_engine([for_ever, report], limits=A_WEEK) as engine:
        await engine.start(for_ever, 0, gid="loop")
        await trio.sleep(20.5 * DAY_S)
        kept = await gids_of(engine)
    assert kept == sorted([*(f"child{number}" for number in range(14, 21)), "loop"])
