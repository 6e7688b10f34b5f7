"""Event loops that workflows call past their tx."""

import asyncio

import anyio
import trio
from trio import move_on_after, open_nursery

import flowtx


async def charge(cents: int) -> None:
    print(cents)


@flowtx.workflow
async def impatient(tx: flowtx.Tx, cents: int) -> float:
    await trio.sleep(1)  # expect: FTX010
    await asyncio.sleep(1)  # expect: FTX010
    await anyio.sleep(1)  # expect: FTX010
    async with open_nursery() as nursery:  # expect: FTX010
        nursery.start_soon(charge, cents)
    with move_on_after(3):  # expect: FTX010
        await tx.step(charge, cents)
    await asyncio.gather(tx.step(charge, cents))  # expect: FTX010
    await trio.to_thread.run_sync(print, cents)  # expect: FTX010
    asyncio.create_task(charge(cents))  # expect: FTX010, FTX013
    return trio.current_time()  # expect: FTX010
