"""What 100,000 transactions cost that only wait: rows in the database, and no memory of the process.

The first half fills caches of a fixed size (SQLite's, the allocator's); what counts is what the second half adds.
A third begins later, a third sleeps in the middle, and a third waits for a place under a limit. Run as a script:
``make bench``; a number as argument is how many.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import trio

import flowtx

COUNT = 100_000
BATCH = 1_000
DAY_S = 86_400.0


@flowtx.workflow
async def sleeps(tx: flowtx.Tx, number: int) -> None:
    """Waits in the middle."""
    await tx.sleep(DAY_S)


@flowtx.workflow(limit=flowtx.Limit(concurrency=1))
async def queues(tx: flowtx.Tx, number: int) -> None:
    """Waits for its place: the first one sleeps, and all others wait for it."""
    await tx.sleep(DAY_S)


def memory_mib() -> float:
    """The memory of this process that is in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1024 / 1024


async def begin(engine: flowtx.Engine, numbers: range) -> None:
    """Begin some, a third of each kind, and wait until all of them rest."""
    async with trio.open_nursery() as nursery:
        for number in numbers:
            nursery.start_soon(begin_one, engine, number)


async def begin_one(engine: flowtx.Engine, number: int) -> None:
    """Begin one of the kind that its number says."""
    gid = f"g-{number}"
    match number % 3:
        case 0:
            await engine.start(sleeps, number, gid=gid, delay_s=DAY_S)
        case 1:
            await engine.start(sleeps, number, gid=gid)
        case _:
            await engine.start(queues, number, gid=gid)


async def main(count: int) -> None:
    """Print memory before, with half and with all, and how long it takes."""
    with tempfile.TemporaryDirectory() as folder:
        limits = flowtx.EngineLimits(park_after_s=0.0)
        async with flowtx.open(f"sqlite:///{Path(folder) / 'parked.db'}", limits=limits) as engine:
            await begin(engine, range(BATCH))
            before_mib, began_s = memory_mib(), time.perf_counter()
            half_mib = before_mib
            for start in range(BATCH, count, BATCH):
                await begin(engine, range(start, min(start + BATCH, count)))
                if start <= count // 2:
                    half_mib = memory_mib()
            await trio.sleep(2)
            took_s = time.perf_counter() - began_s
            all_mib = memory_mib()
            assert "<Node" in repr(engine)
            assert " 0 active" in repr(engine), engine
            look_s = time.perf_counter()
            await engine.run(sleeps_not, 0)
            print(
                f"{count:,} parked transactions: {before_mib:.0f} MiB with {BATCH:,}, "
                f"{half_mib - before_mib:+.1f} with half of them, {all_mib - half_mib:+.1f} with the rest; "
                f"{count / took_s:,.0f} begun a second; another one takes {(time.perf_counter() - look_s) * 1e3:.1f} ms"
            )


@flowtx.workflow
async def sleeps_not(tx: flowtx.Tx, number: int) -> None:
    """Ends at once."""


if __name__ == "__main__":
    trio.run(main, next((int(word) for word in sys.argv[1:] if word.isdigit()), COUNT))
