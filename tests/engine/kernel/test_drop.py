"""A dropped run: its clean-up runs, moves nobody, and cannot hold the engine up."""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import flowtx
from flowtx_engine.kernel.events import Began, Event
from flowtx_engine.kernel.kernel import Kernel

Begin = Callable[[flowtx.Workflow[..., Any]], Any]


def act() -> int:
    return 1


class Bare:
    """The least that can be awaited."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def test_every_word_in_a_finally_is_refused(play: Begin) -> None:
    refused: list[str] = []

    @flowtx.workflow
    async def cleans_up(tx: flowtx.Tx) -> None:
        try:
            await tx.step(act, compensate=act)
        finally:
            for word in (tx.now, tx.uuid4, tx.Event):
                with pytest.raises(flowtx.RunClosed, match="was dropped; nothing it asks for is performed"):
                    word()
            for wait in (tx.step(act), tx.sleep(1), tx.checkpoint()):
                with pytest.raises(flowtx.RunClosed):
                    await wait
            refused.append("all")

    run = play(cleans_up)
    run.kernel.close()
    assert refused == ["all"]
    assert (run.waiting, run.kernel.phase, run.kernel.ended) == (["0"], "running", None)
    run.kernel.close()
    assert refused == ["all"]


def test_clean_up_goes_from_the_inside_out_and_every_part_of_it_runs(play: Begin) -> None:
    told: list[str] = []

    @asynccontextmanager
    async def room(tx: flowtx.Tx, name: str) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            told.append(f"leaving {name}")
            await Bare()
            told.append(f"left {name}")

    async def helper(tx: flowtx.Tx) -> None:
        try:
            await tx.sleep(5)
        finally:
            try:
                told.append("helper")
                await Bare()
                told.append("never")
            finally:
                # Were only the outermost function closed, this one would wait here until it is collected as garbage.
                told.append("helper again")
                await Bare()

    @flowtx.workflow
    async def nested(tx: flowtx.Tx) -> None:
        async with room(tx, "outer"), room(tx, "inner"):
            await helper(tx)

    play(nested).kernel.close()
    gc.collect()
    assert told == ["helper", "helper again", "leaving inner", "leaving outer"]


async def trios_sleep() -> None:
    await trio.sleep(1)


@pytest.mark.parametrize("foreign", [Bare, trios_sleep])
def test_a_finally_that_waits_for_foreign_things_is_cut_short(foreign: Callable[[], Any], play: Begin) -> None:
    told: list[str] = []

    @flowtx.workflow
    async def waits(tx: flowtx.Tx) -> None:
        try:
            await tx.step(act)
        finally:
            try:
                await foreign()
            finally:
                told.append("cut")
                await foreign()

    play(waits).kernel.close()
    gc.collect()
    assert told == ["cut"]


async def test_a_finally_that_opens_a_nursery_of_trio_opens_none(play: Begin) -> None:
    @flowtx.workflow
    async def opens(tx: flowtx.Tx) -> None:
        try:
            await tx.step(act)
        finally:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 1)

    task = trio.lowlevel.current_task()
    nurseries = list(task.child_nurseries)
    play(opens).kernel.close()
    assert trio.lowlevel.current_task() is task
    assert task.child_nurseries == nurseries


@pytest.mark.parametrize(
    "error", [ValueError("x"), SystemExit(1), KeyboardInterrupt(), flowtx.Cancelled(), StopAsyncIteration()]
)
def test_clean_up_may_raise_what_it_likes(error: BaseException, play: Begin) -> None:
    @flowtx.workflow
    async def raises(tx: flowtx.Tx) -> None:
        try:
            await tx.step(act)
        finally:
            raise error

    play(raises).kernel.close()


def test_a_loop_that_tries_again_and_again_ends_all_the_same(play: Begin) -> None:
    tries = 0

    @flowtx.workflow
    async def stubborn(tx: flowtx.Tx) -> None:
        nonlocal tries
        try:
            await tx.step(act)
        finally:
            while True:
                tries += 1
                try:
                    await tx.step(act)
                    break
                except Exception:  # every refusal, for ever
                    continue

    play(stubborn).kernel.close()
    assert tries > 1


async def sleeps(tx: flowtx.Tx) -> None:
    await tx.sleep(1)


async def steps(tx: flowtx.Tx) -> None:
    await tx.step(act)


async def races(tx: flowtx.Tx) -> None:
    async with tx.open_nursery() as nursery:
        nursery.start_step(act)
        await tx.sleep(1)


async def waits_with_a_deadline(tx: flowtx.Tx) -> None:
    with tx.move_on_after(1):
        await tx.Event().wait()


@pytest.mark.parametrize("wait", [sleeps, steps, races, waits_with_a_deadline])
def test_a_workflow_that_will_not_die_is_left_behind_with_a_word_of_python_about_it(
    wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def listen(unraisable: Any) -> None:
        said.append(str(unraisable.exc_value))

    monkeypatch.setattr(sys, "unraisablehook", listen)

    @flowtx.workflow
    async def immortal(tx: flowtx.Tx) -> None:
        while True:
            try:
                await wait(tx)
            except BaseException:
                continue

    kernel = Kernel(immortal, b"[]", gid="g")
    kernel.feed(Event(seq=0, at=0.0, address="", fact=Began(workflow="immortal")))
    kernel.close()
    del kernel
    gc.collect()
    assert set(said) == {"coroutine ignored GeneratorExit"}


def test_a_run_that_never_began_or_has_ended_can_be_dropped(play: Begin) -> None:
    @flowtx.workflow
    async def short(tx: flowtx.Tx) -> None: ...

    Kernel(short, b"[]", gid="g").close()
    run = play(short)
    run.kernel.close()
    assert run.kernel.ended.status == "succeed"


def test_a_run_dropped_while_it_is_taken_back_performs_nothing_more(play: Begin) -> None:
    @flowtx.workflow
    async def fails(tx: flowtx.Tx) -> None:
        await tx.step(act, compensate=act)
        raise flowtx.Abort("enough")

    run = play(fails)
    run.succeed("0")
    assert run.waiting == ["0/c"]
    run.kernel.close()
    assert (run.kernel.phase, run.kernel.ended) == ("compensating", None)
