"""Faults in what a workflow calls: helpers with tx, plain functions, branches of a nursery, methods."""

import functools
import random
import time
from typing import TYPE_CHECKING

import flowtx

if TYPE_CHECKING:
    from flowtx import Tx


async def charge(cents: int) -> None:
    print(cents)


def fee_of(cents: int) -> int:
    return cents + random.randint(1, 3)  # expect: FTX002


def rank(name: str) -> float:
    return time.time()  # expect: FTX001


async def helper(transaction, cents):
    started = time.monotonic()  # expect: FTX001
    await transaction.step(charge, cents)
    transaction.sleep(1)  # expect: FTX012
    return started


async def annotated(tx: "Tx", cents: int) -> None:
    await charge(cents)  # expect: FTX011


async def branch(nursery, cents):
    nursery.start_soon(charge, cents)
    time.sleep(1)  # expect: FTX006


class Archive:
    def keep(self, cents: int) -> None:
        with open("archive", "a") as file:  # expect: FTX004
            file.write(f"{cents}")

    async def send(self, cents: int) -> None:
        print(cents)


ARCHIVE = Archive()


class Shop:
    @staticmethod
    async def sell(tx: flowtx.Tx, cents: int) -> None:
        await tx.step(charge, fee_of(cents))
        print(time.time())  # expect: FTX001

    async def buy(self, tx, cents):
        print(time.time())  # expect: FTX001


@flowtx.workflow
async def market(tx: flowtx.Tx, cents: int) -> None:
    again = tx
    ARCHIVE.keep(cents)
    await ARCHIVE.send(cents)  # expect: FTX011
    ARCHIVE.late = tx  # expect: FTX031
    await helper(again, fee_of(cents))
    async with tx.open_nursery() as nursery:
        await branch(nursery, cents)
        nursery.start_soon(parallel, tx, cents)

        async def inner() -> None:
            print(random.random())  # expect: FTX002
            await tx.sleep(1)

        nursery.start_soon(inner)
    print(sorted(["a", "b"], key=rank))
    step = tx.step
    step(charge, cents)  # expect: FTX012
    await functools.partial(annotated, tx)(cents)
    await Shop().buy(tx, cents)
    await Shop.buy(Shop(), tx, cents)


async def parallel(tx, cents):
    print(time.time())  # expect: FTX001


async def undecorated(tx: flowtx.Tx, cents: int):  # expect: FTX040
    print(time.time())  # expect: FTX001


declared = flowtx.workflow(name="declared")(undecorated)
