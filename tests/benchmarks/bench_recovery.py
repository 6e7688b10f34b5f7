"""Recovery after a crash: 10,000 unfinished two-step transactions on SQLite are all finished within 10 s.

A child process begins them, with every first step done, and kills itself without a word; then an engine is opened on
what is there. The dead node's lease is over by then: what is measured is finding, replaying and finishing. Run as a
script: ``make bench``; a number as argument is how many.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trio

import flowtx

COUNT = 10_000
LIMIT_S = 10.0
BATCH = 500

hold = trio.Event()


async def reserve(number: int) -> int:
    """The first step."""
    return number


async def confirm(number: int) -> int:
    """The second step: never returns in the process that crashes."""
    if "crash" in sys.argv:
        await hold.wait()
    return number


async def release(number: int) -> None:
    """Takes the first step back."""


@flowtx.workflow
async def order(tx: flowtx.Tx, number: int) -> int:
    """A saga of two steps."""
    await tx.step(reserve, number, compensate=release)
    return await tx.step(confirm, number)


async def begin(url: str, count: int) -> None:
    """Begin all, wait until every first step is in the journal, and die."""
    async with flowtx.open(url, limits=flowtx.EngineLimits(active_max=count)) as engine:

        async def begin_one(number: int) -> None:
            await engine.start(order, number, gid=f"order-{number}")

        for start in range(0, count, BATCH):
            async with trio.open_nursery() as nursery:
                for number in range(start, min(start + BATCH, count)):
                    nursery.start_soon(begin_one, number)
        last = await engine.transactions(limit=BATCH)
        while any([len(await engine.history(row.gid)) < 2 for row in last]):  # noqa: ASYNC110 - the journal sets no event
            await trio.sleep(0.05)
        os._exit(9)


async def recover(url: str, count: int) -> float:
    """Seconds from opening the engine until all are finished."""
    began_s = time.perf_counter()
    async with flowtx.open(url, workflows=[order], limits=flowtx.EngineLimits(active_max=count)) as engine:
        unfinished = flowtx.Filter(unfinished=True)
        while await engine.transactions(unfinished, limit=1):  # noqa: ASYNC110 - the journal sets no event
            await trio.sleep(0.05)
        return time.perf_counter() - began_s


def main() -> None:
    """Print how long it took, and how much memory."""
    count = next((int(word) for word in sys.argv[1:] if word.isdigit()), COUNT)
    if "crash" in sys.argv:
        trio.run(begin, sys.argv[-1], count)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'orders.db'}"
        crashed = subprocess.run([sys.executable, __file__, f"{count}", "crash", url], check=False)
        assert crashed.returncode == 9, crashed
        # Two heartbeats after its last one the dead node's lease is over.
        time.sleep(2 * flowtx.EngineLimits().heartbeat_s + 0.1)
        before_s = time.process_time()
        took_s = trio.run(recover, url, count)
        cpu_s = time.process_time() - before_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"recovery of {count:,} unfinished two-step transactions: {took_s:.1f} s, {count / took_s:,.0f} a second, "
        f"{cpu_s:.1f} s of CPU, peak {peak_mib:.0f} MiB (the bar is {LIMIT_S:.0f} s for {COUNT:,})"
    )


if __name__ == "__main__":
    main()
