"""Steps that are asked for in the wrong way."""

import flowtx
from bank import settle


async def withdraw(cents: int) -> None:
    print(cents)


def deposit(cents: int) -> None:
    print(cents)


@flowtx.workflow
async def hasty(tx: flowtx.Tx, cents: int) -> None:
    await tx.step(withdraw(cents))  # expect: FTX050
    await tx.step(deposit(cents))  # expect: FTX050
    await tx.step(settle(cents))  # expect: FTX050
    await tx.step(withdraw, cents, compensate=deposit(cents))  # expect: FTX050
    await tx.step(lambda: deposit(cents))  # expect: FTX051
    await tx.step(withdraw, cents, compensate=lambda c: print(c))  # expect: FTX051
