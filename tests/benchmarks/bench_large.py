"""What a large payload costs: memory at the peak as a multiple of it, and how long small transactions wait beside it.

Run as a script: ``make bench``; a number as argument is how many megabytes. Linux only: its kernel tells the peak.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trio

import flowtx

MEGABYTES = 100
WAYS = ("result", "two steps", "input", "returned")
SMALL_COUNT = 300


def make(size: int) -> str:
    """A large result."""
    return "x" * size


def measure(text: str) -> int:
    """Takes a large argument."""
    return len(text)


@flowtx.workflow
async def result(tx: flowtx.Tx, size: int) -> int:
    """A large value comes out of a step."""
    return len(await tx.step(make, size))


@flowtx.workflow
async def two_steps(tx: flowtx.Tx, size: int) -> int:
    """It goes into another one."""
    return await tx.step(measure, await tx.step(make, size))


@flowtx.workflow
async def takes_input(tx: flowtx.Tx, text: str) -> int:
    """It is the run's input, and goes into a step."""
    return await tx.step(measure, text)


@flowtx.workflow
async def returned(tx: flowtx.Tx, size: int) -> str:
    """It is the run's result, too."""
    return await tx.step(make, size)


@flowtx.workflow
async def small(tx: flowtx.Tx) -> int:
    """What others do meanwhile."""
    return await tx.step(measure, "small")


async def go(engine: flowtx.Engine, way: str, size: int) -> None:
    """One large payload, one way."""
    match way:
        case "result":
            await engine.run(result, size)
        case "two steps":
            await engine.run(two_steps, size)
        case "input":
            await engine.run(takes_input, "x" * size)
        case _:
            await engine.run(returned, size)


def memory_mb(name: str) -> float:
    """``VmRSS`` is the memory in use, ``VmHWM`` its peak since ``forget_peak``."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024 / 1e6


def forget_peak() -> None:
    """Let the peak begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


async def cost(way: str, megabytes: int) -> None:
    """Print what one way costs."""
    size = megabytes * 1_000_000
    limits = flowtx.EngineLimits(payload_bytes_max=2 * size)
    with tempfile.TemporaryDirectory() as folder:
        async with flowtx.open(f"sqlite:///{Path(folder) / 'large.db'}", limits=limits) as engine:
            await go(engine, way, 10)
            before_mb = memory_mb("VmRSS")
            forget_peak()
            began_s = time.perf_counter()
            await go(engine, way, size)
            took_s = time.perf_counter() - began_s
            peak = (memory_mb("VmHWM") - before_mb) / megabytes
            print(f"{megabytes} MB, {way}: {took_s:.2f} s, at the peak {peak:.1f} times its size")


async def waiting(megabytes: int) -> None:
    """Print how long small transactions take alone, and beside a large payload: in turn, three times each."""
    size = megabytes * 1_000_000
    alone: list[float] = []
    beside: list[float] = []
    limits = flowtx.EngineLimits(payload_bytes_max=2 * size)
    with tempfile.TemporaryDirectory() as folder:
        async with flowtx.open(f"sqlite:///{Path(folder) / 'large.db'}", limits=limits) as engine:
            await timed(engine)
            for _ in range(3):
                alone += [await timed(engine) for _ in range(SMALL_COUNT // 3)]
                beside += await timed_beside(engine, size)
    for share, name in ((0.5, "half"), (0.9, "nine in ten"), (1.0, "all")):
        one, other = at(alone, share), at(beside, share)
        print(
            f"small ones, {name}: within {one * 1e3:.1f} ms alone, {other * 1e3:.1f} ms beside {megabytes} MB: ", end=""
        )
        print(f"{other / one:.1f} times as long")


async def timed(engine: flowtx.Engine) -> float:
    """How long a small transaction takes."""
    began_s = time.perf_counter()
    await engine.run(small)
    return time.perf_counter() - began_s


async def timed_beside(engine: flowtx.Engine, size: int) -> list[float]:
    """The same for as many as begin while a large payload is on its way."""
    times: list[float] = []
    is_over = trio.Event()

    async def large() -> None:
        await engine.run(result, size)
        is_over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(large)
        while not is_over.is_set():
            times.append(await timed(engine))
    return times


def at(times: list[float], share: float) -> float:
    """What this share of them stayed within."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def main() -> None:
    """Measure each way in a process of its own, for the memory of one would be the other's."""
    words = sys.argv[1:]
    megabytes = next((int(word) for word in words if word.isdigit()), MEGABYTES)
    if "--way" in words:
        trio.run(cost, words[words.index("--way") + 1], megabytes)
        return
    for way in WAYS:
        subprocess.run([sys.executable, __file__, str(megabytes), "--way", way], check=True)
    trio.run(waiting, megabytes)


if __name__ == "__main__":
    main()
