"""Helpers of every kind: with tx, plain, recursive, methods, generators, in classes that hold what is passed."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import elsewhere
import flowtx
from elsewhere import settle_with

if TYPE_CHECKING:
    from flowtx import Tx

log = logging.getLogger(__name__)
RATES = {"EUR": 2}
FEES: list[int] = [1, 2]


def fee_of(cents: int, seen: tuple[int, ...] = ()) -> int:
    rates = dict(RATES)
    rates["USD"] = 3
    fees = [*FEES]
    fees.append(cents)
    return math.ceil(cents * rates["EUR"] / 100) + sum(fees) + len(seen)


async def charge(cents: int) -> int:
    return cents


async def again(tx: Tx, count: int) -> int:
    if count == 0:
        return 0
    return await tx.step(charge, count) + await again(tx, count - 1)


async def unannotated(tx, cents):
    log.info("charging %s", cents)
    return await tx.step(charge, cents)


@asynccontextmanager
async def session(tx: Tx) -> AsyncIterator[int]:
    yield await tx.step(charge, 1)


async def numbers(tx: Tx, count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield await tx.step(charge, number)


class Basket:
    def __init__(self) -> None:
        self.items: list[int] = []

    def add(self, cents: int) -> None:
        self.items.append(cents)
        self.last = cents

    async def pay(self, tx: Tx) -> int:
        paid = 0
        for cents in self.items:
            paid += await tx.step(charge, cents)
        await self.note(tx)
        return paid

    async def note(self, tx: Tx) -> None:
        await tx.sleep(1)


def ask(tx: Tx, cents: int) -> object:
    return tx.step(charge, cents)


@flowtx.workflow
async def shop(tx: Tx, cents: int) -> int:
    basket = Basket()
    basket.add(fee_of(cents))
    total = await basket.pay(tx) + await again(tx, 3) + await unannotated(tx, cents)
    await settle_with(tx, total)
    await elsewhere.settle(total, tx=tx)
    await ask(tx, cents)
    bank = elsewhere.Bank(tx)
    await bank.settle(total)
    async with session(tx) as one, elsewhere.session(tx) as two:
        total += one + two
    async for number in numbers(tx, 3):
        total += number
    total += sum([number async for number in numbers(tx, 3)])
    waiting = [tx.step(charge, number) for number in range(3)]
    for it in waiting:
        total += await it
    parts = functools.reduce(lambda a, b: a + b, [1, 2, 3])
    biggest = max([1, 2], key=lambda it: -it)
    total += parts + biggest
    del waiting

    class Local:
        rate = 3
        names: list[str] = []

    later = None
    total += await (later or tx.step(charge, Local.rate))
    total += await (again(tx, 1) if total else tx.step(charge, 1))
    return total


def make(factor: int):
    @flowtx.workflow(name=f"times-{factor}")
    async def times(tx: Tx, cents: int) -> int:
        cents *= factor
        return await tx.step(charge, cents)

    return times


async def on_the_side(tx: Tx, cents: int) -> int:
    return await tx.step(charge, cents)


side = flowtx.workflow(on_the_side)
