"""Signals in the kernel: kept, taken once, never lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

import flowtx
from flowtx_engine.kernel.events import Signalled

Begin = Callable[[flowtx.Workflow[..., Any]], Any]


def signal(play: Any, name: str, value: object, *, key: str = "") -> None:
    play.feed("", Signalled(name=name, value=msgspec.Raw(msgspec.json.encode(value)), key=key))


def value_of(play: Any) -> object:
    assert play.kernel.ended is not None, play.kernel
    return msgspec.json.decode(play.kernel.ended.value)


def test_a_signal_that_comes_before_it_is_awaited_is_kept(play: Begin) -> None:
    @flowtx.workflow
    async def wait(tx: flowtx.Tx) -> list[int]:
        await tx.sleep(5)
        return [await tx.signal("n", type=int), await tx.signal("n", type=int)]

    run = play(wait)
    signal(run, "n", 1)
    signal(run, "other", 9)
    run.fire("0")
    run.replay()
    signal(run, "n", 2)
    assert value_of(run) == [1, 2]
    run.replay()


def test_one_key_is_one_signal(play: Begin) -> None:
    @flowtx.workflow
    async def wait(tx: flowtx.Tx) -> list[int]:
        return [await tx.signal("n", type=int), await tx.signal("n", type=int)]

    run = play(wait)
    for value, key in ((1, "a"), (1, "a"), (2, "b")):
        signal(run, "n", value, key=key)
    assert value_of(run) == [1, 2]


def test_who_waits_first_is_served_first_and_one_that_moves_on_takes_nothing(play: Begin) -> None:
    @flowtx.workflow
    async def wait(tx: flowtx.Tx) -> list[str]:
        took: list[str] = []

        async def taker(name: str, seconds: float) -> None:
            with tx.move_on_after(seconds):
                took.append(name + await tx.signal("n", type=str))

        async with tx.open_nursery() as nursery:
            nursery.start_soon(taker, "a", 5)
            nursery.start_soon(taker, "b", 50)
            nursery.start_soon(taker, "c", 50)
        return took

    run = play(wait)
    run.fire("0/0/0")
    signal(run, "n", "1")
    signal(run, "n", "2")
    assert value_of(run) == ["b1", "c2"]
    run.replay()


def test_a_value_that_does_not_fit_is_an_error_where_it_is_awaited(play: Begin) -> None:
    @flowtx.workflow
    async def wait(tx: flowtx.Tx) -> str:
        try:
            await tx.signal("n", type=int)
        except flowtx.PayloadError as error:
            return error.message
        return "it fitted"

    run = play(wait)
    signal(run, "n", "text")
    assert value_of(run) == (
        "signal n does not fit int: Expected `int`, got `str`; "
        "\"text\" was sent, and tx.signal('n', type=int) awaits it"
    )
    run.replay()
