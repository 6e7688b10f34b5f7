"""``engine.tasks``: what a run waits for, driven here, parked, or with its code gone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from trio.testing import MockClock

import flowtx
from flowtx_engine.runtime.engine import Engine

OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]


async def take_long(seconds: float) -> None:
    await trio.sleep(seconds)


@flowtx.workflow
async def patient(tx: flowtx.Tx, seconds: float) -> None:
    async with tx.open_nursery() as nursery:
        nursery.start_step(take_long, seconds)
        await tx.sleep(1000)


async def test_a_run_that_is_driven_here_says_what_is_on_its_way(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        await engine.start(patient, 50.0, gid="g")
        await trio.sleep(1)
        waiting = {one.kind: one for one in (await engine.tasks("g")).waiting}
        assert waiting["step"].is_on_its_way
        assert not waiting["sleep"].is_on_its_way
        await trio.sleep(60)
        (asleep,) = (await engine.tasks("g")).waiting
        assert (asleep.kind, asleep.what[:11]) == ("sleep", "sleep until")


async def test_a_parked_run_is_replayed_and_stays_parked(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        await engine.start(patient, 0.0, gid="g")
        await trio.sleep(5)
        before = await engine.history("g")
        (asleep,) = (await engine.tasks("g")).waiting
        assert asleep.kind == "sleep"
        assert await engine.history("g") == before
        await engine.wait("g")
        assert (await engine.tasks("g")) == flowtx.RunView(phase="ended")
        with pytest.raises(flowtx.NoSuchTransaction):
            await engine.tasks("nobody")
    async with open_engine() as engine:
        with pytest.raises(flowtx.NoSuchWorkflow):
            await engine.tasks("g")
