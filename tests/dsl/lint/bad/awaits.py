"""Awaits of what nobody journals, and words that nobody awaits."""

import bank
import flowtx
from bank import settle


async def charge(cents: int) -> int:
    return cents


def audit(cents: int) -> int:
    return cents


async def helper(tx: flowtx.Tx, cents: int) -> int:
    return await tx.step(charge, cents)


class Books:
    async def note(self, cents: int) -> None:
        print(cents)


@flowtx.workflow
async def foreign(tx: flowtx.Tx, cents: int) -> int:
    await charge(cents)  # expect: FTX011
    await settle(cents)  # expect: FTX011
    await bank.settle(cents)  # expect: FTX011
    books = Books()
    await books.note(cents)  # expect: FTX011
    later = settle(cents)
    await later  # expect: FTX011
    async for line in bank.lines(cents):  # expect: FTX011
        print(line)
    async with bank.session() as session:  # expect: FTX011
        print(session)
    lines = [line async for line in bank.lines(cents)]  # expect: FTX011
    await (tx.sleep(1) if cents else settle(cents))  # expect: FTX011
    await settle(tx.gid)  # expect: FTX011
    return len(lines)


@flowtx.workflow
async def forgotten(tx: flowtx.Tx, cents: int) -> int:
    tx.step(charge, cents)  # expect: FTX012
    tx.sleep(1)  # expect: FTX012
    paid = tx.step(charge, cents)  # expect: FTX012
    if tx.step(charge, cents):  # expect: FTX012
        print(paid)
    total = tx.step(charge, cents) + 1  # expect: FTX012
    if cents and tx.step(charge, cents):  # expect: FTX012
        print(cents)
    helper(tx, cents)  # expect: FTX012
    print(f"{tx.step(charge, cents)}", total)  # expect: FTX012
    return tx.step(charge, cents)  # expect: FTX012


@flowtx.workflow
async def direct(tx: flowtx.Tx, cents: int) -> int:
    await tx.step(audit, cents)
    return audit(cents)  # expect: FTX013
