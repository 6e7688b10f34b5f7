"""Slips of the hand: forgotten awaits, handlers that catch too much, state of the module, shapes of steps."""

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from flowtx import Cancelled, Refused, Tx, workflow

CACHE: dict[str, int] = {}
COUNTS: defaultdict[str, int] = defaultdict(int)
TOTAL = 0
CURRENT: Tx | None = None


def charge(cents: int) -> str:
    return str(cents)


def refund(cents: int) -> None: ...


def lines(path: str) -> Iterator[str]:  # expect: FTX042
    yield path


def untyped(cents):  # expect: FTX041, FTX041
    return cents


async def helper(tx: Tx, cents: int) -> str:
    return await tx.step(charge, cents)


@workflow
async def forgetful(tx: Tx, cents: int) -> str:
    tx.sleep(60)  # expect: FTX012
    helper(tx, cents)  # expect: FTX012
    receipt = tx.step(charge, cents)  # expect: FTX012
    if tx.signal("approved"):  # expect: FTX012
        await tx.checkpoint()
    text = f"{helper(tx, cents)}"  # expect: FTX012
    tx.child(forgetful, cents)  # expect: FTX012
    answer = tx.update("address").value  # expect: FTX012
    return f"{receipt}{text}{answer}"


@workflow
async def greedy(tx: Tx, cents: int) -> str:
    try:
        await tx.step(charge, cents)
    except:  # expect: FTX020
        logging.exception("failed")
    try:
        await tx.sleep(5)
    except (ValueError, Cancelled):  # expect: FTX020
        return "cancelled"
    try:
        async with tx.open_nursery() as nursery:
            nursery.start_step(charge, cents)
    except* BaseException:  # expect: FTX020
        pass
    with contextlib.suppress(BaseException):  # expect: FTX020
        await tx.sleep(1)
    while True:
        try:
            await tx.step(charge, cents)
        except Refused:
            break
        finally:
            await tx.sleep(1)  # expect: FTX021
    try:
        await tx.step(charge, cents)
    except BaseException:
        await tx.step(refund, cents)  # expect: FTX021
        raise
    try:
        await tx.sleep(1)
    finally:
        return "done"  # expect: FTX020


@workflow
async def worldly(tx: Tx, name: str) -> int:
    global TOTAL
    TOTAL += 1  # expect: FTX030
    CACHE[name] = 1  # expect: FTX030
    COUNTS[name] += 1  # expect: FTX030
    CACHE.setdefault(name, 2)  # expect: FTX030
    CACHE.pop(name, None)  # expect: FTX030
    del CACHE[name]  # expect: FTX030
    worldly.calls = 1  # expect: FTX030
    await tx.sleep(1)
    return TOTAL


@workflow
async def shaped(
    tx: Tx,
    path: Path,  # expect: FTX042
    then: Callable[[int], int],  # expect: FTX042
    limit,  # expect: FTX040
    seen: dict[str, int] = {},  # expect: FTX043
) -> Iterator[int]:  # expect: FTX042
    await tx.step(charge(3))  # expect: FTX050
    await tx.step(lambda: limit)  # expect: FTX051
    await tx.step(untyped, 3)
    await tx.step(lines, "x")
    await tx.step(charge, 3, compensate=lambda cents: None)  # expect: FTX051
    await tx.step(charge, 3, compensate=refund(3))  # expect: FTX050
    await tx.step(helper, tx, 3)  # expect: FTX032, FTX032
    charge(3)  # expect: FTX013
    return iter([len(str(path)), then(1), len(seen)])
