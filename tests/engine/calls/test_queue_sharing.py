"""What is opened once and used by many: never more than the limit, and what was lost is opened again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtx_engine.calls.queue_sharing import Shared


@dataclass(eq=False)
class Thing:
    key: str
    is_lost: bool = False
    is_closed: bool = False

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.is_closed = True


@dataclass
class Shop:
    """Makes things, and knows which it has made."""

    count_max: int = 2
    things: list[Thing] = field(default_factory=list[Thing])
    fault: Exception | None = None

    def __post_init__(self) -> None:
        self.shared = Shared[Thing](count_max=self.count_max, close_s=1.0)

    async def make(self, key: str) -> Thing:
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        thing = Thing(key)
        self.things.append(thing)
        assert len(self.open) <= self.count_max
        return thing

    async def use(self, key: str, what: Callable[[Thing], Awaitable[None]] | None = None) -> Thing:
        async with self.shared.use(key, lambda: self.make(key)) as thing:
            assert (thing.key, thing.is_closed) == (key, False)
            if what is not None:
                await what(thing)
            return thing

    @property
    def open(self) -> list[Thing]:
        """Those that nobody has closed; one that is just being closed has been forgotten and does not count."""
        kept = self.shared._kept.values()  # pyright: ignore[reportPrivateUsage]  # what the law speaks of
        return [each.opening.result() for each in kept if each.opening.done() and each.opening.exception() is None]


async def pause(thing: Thing) -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@given(keys=st.lists(st.sampled_from("abcdef"), max_size=30), count_max=st.integers(1, 4))
def test_however_many_come_at_once_each_gets_its_own_and_no_more_are_open_than_may_be(
    keys: list[str], count_max: int
) -> None:
    async def main() -> None:
        shop = Shop(count_max=count_max)
        async with asyncio.timeout(20):
            used = await asyncio.gather(*(shop.use(key, pause) for key in keys))
        assert [thing.key for thing in used] == keys
        await shop.shared.close()
        assert all(thing.is_closed for thing in shop.things)

    asyncio.run(main())


def test_one_is_opened_once_and_kept() -> None:
    async def main() -> None:
        shop = Shop()
        used = await asyncio.gather(*(shop.use("a", pause) for _ in range(10)))
        assert {id(thing) for thing in [*used, await shop.use("a")]} == {id(shop.things[0])}

    asyncio.run(main())


def test_the_one_unused_for_longest_goes_first() -> None:
    async def main() -> None:
        shop = Shop(count_max=2)
        for key in ("a", "b", "a", "c"):
            await shop.use(key)
        await asyncio.sleep(0.01)
        assert [thing.key for thing in shop.things if thing.is_closed] == ["b"]

    asyncio.run(main())


def test_one_that_was_lost_is_opened_again_also_when_it_is_lost_in_use() -> None:
    async def main() -> None:
        shop = Shop()

        async def lose(thing: Thing) -> None:
            thing.is_lost = True

        first = await shop.use("a", lose)
        second = await shop.use("a")
        second.is_lost = True
        third = await shop.use("a")
        assert len({id(first), id(second), id(third)}) == 3

    asyncio.run(main())


def test_who_cannot_be_opened_is_told_to_all_who_wait_and_tried_again() -> None:
    async def main() -> None:
        shop = Shop(fault=OSError("nobody there"))
        told = await asyncio.gather(*(shop.use("a") for _ in range(3)), return_exceptions=True)
        assert [str(each) for each in told] == ["nobody there"] * 3
        shop.fault = None
        assert (await shop.use("a")).key == "a"

    asyncio.run(main())


def test_who_gives_up_waiting_leaves_it_to_the_others() -> None:
    async def main() -> None:
        shop = Shop()
        impatient, patient = asyncio.create_task(shop.use("a")), asyncio.create_task(shop.use("a"))
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        assert (await patient).key == "a"
        assert len(shop.things) == 1

    asyncio.run(main())
