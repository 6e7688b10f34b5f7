"""What lives longer than a run and is changed by it, and tx where it does not belong."""

import functools
import itertools

import config
import flowtx
from flowtx import Tx

TOTAL = 0
SEEN: list[str] = []
BALANCES = {"alice": 1}
NUMBERS = itertools.count()
CURRENT: Tx | None = None


class Stats:
    runs = 0


async def charge(who: object) -> None:
    print(who)


@flowtx.workflow
async def changing(tx: Tx, name: str) -> int:
    global TOTAL
    TOTAL += 1  # expect: FTX030
    SEEN.append(name)  # expect: FTX030
    BALANCES[name] = 2  # expect: FTX030
    BALANCES.setdefault(name, 3)  # expect: FTX030
    del BALANCES[name]  # expect: FTX030
    Stats.runs += 1  # expect: FTX030
    config.DEBUG = True  # expect: FTX030
    return next(NUMBERS)  # expect: FTX030


def make_workflow() -> object:
    count = 0
    names: list[str] = []

    @flowtx.workflow
    async def counting(tx: Tx, name: str) -> None:
        nonlocal count
        count += 1  # expect: FTX030
        names.append(name)  # expect: FTX030
        await tx.step(charge, name)

    return counting, count


class Holder:
    tx: Tx


@flowtx.workflow
async def keeping(tx: Tx, name: str) -> None:
    global CURRENT
    CURRENT = tx  # expect: FTX031
    holder = Holder()
    holder.tx = tx  # expect: FTX031
    SEEN.append(tx)  # expect: FTX031
    BALANCES[name] = tx  # expect: FTX031
    await tx.step(charge, tx)  # expect: FTX032
    await tx.step(charge, (name, tx))  # expect: FTX032
    await tx.step(functools.partial(charge, tx))  # expect: FTX032

    async def closure() -> None:
        await tx.step(charge, name)

    await tx.step(closure)  # expect: FTX032
