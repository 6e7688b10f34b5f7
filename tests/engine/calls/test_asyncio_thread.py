"""A loop of asyncio beside trio: results and errors come back, cancellations go over, and its end is the end of all."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncGenerator

import pytest
import trio

from flowtx_engine.calls.asyncio_thread import AsyncioThread

NAME = "tested loop"


def is_alive() -> bool:
    return any(thread.name == NAME for thread in threading.enumerate())


@pytest.fixture
async def thread() -> AsyncGenerator[AsyncioThread]:
    thread = AsyncioThread(NAME)
    yield thread
    await thread.aclose()
    assert not is_alive()


async def test_nothing_begins_before_the_first_call(thread: AsyncioThread) -> None:
    assert not is_alive()
    assert not thread.is_running


async def test_results_and_errors_come_back(thread: AsyncioThread) -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        if number < 0:
            raise ValueError(number)
        return 2 * number

    assert await thread.run(lambda: double(4)) == 8
    with pytest.raises(ValueError, match="-1"):
        await thread.run(lambda: double(-1))
    assert is_alive()


async def test_many_wait_at_once_and_on_one_thread(thread: AsyncioThread) -> None:
    met = asyncio.Barrier(50)
    seen: set[int] = set()

    async def meet() -> None:
        seen.add(threading.get_ident())
        await met.wait()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(thread.run, meet)
    assert len(seen) == 1


async def test_a_cancellation_goes_over(thread: AsyncioThread) -> None:
    began, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(thread.run, wait)
        assert await trio.to_thread.run_sync(began.wait, 20)
        nursery.cancel_scope.cancel()
    assert await trio.to_thread.run_sync(ended.wait, 20)


async def test_its_end_cancels_what_runs_and_lets_it_clean_up(thread: AsyncioThread) -> None:
    cleaned: list[str] = []
    began = threading.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    async def run() -> None:
        with pytest.raises(concurrent.futures.CancelledError):
            await thread.run(wait)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            assert await trio.to_thread.run_sync(began.wait, 20)
            await thread.aclose()
    assert cleaned == ["up"]
    assert not is_alive()
