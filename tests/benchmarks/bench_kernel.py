"""How many two-step workflows a second the kernel runs on one core, as a ratio to a bare coroutine loop.

Run as a script: ``make bench``. The bar is 100,000 a second on the machine the design was measured on.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable, Generator

import msgspec

from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import workflow
from flowtx_engine.kernel.events import Began, Event, Succeeded
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked

RUNS = 5_000
NULL = msgspec.Raw(b"null")


def step() -> None:
    """A step that is never performed here."""


@workflow
async def two_steps(tx: Tx) -> None:
    """The workflow that is measured."""
    await tx.step(step)
    await tx.step(step)


def run_in_kernel() -> None:
    """One run, fed as the runtime feeds it live."""
    kernel = Kernel(two_steps, b"[]", gid="g")
    orders = kernel.feed(Event(seq=0, at=0.0, address="", fact=BEGAN))
    seq = 1
    while kernel.ended is None:
        asked = orders[0]
        assert isinstance(asked, Asked)
        fact = Succeeded(call=asked.record, value=NULL)
        orders = kernel.feed(Event(seq=seq, at=0.0, address=asked.address, fact=fact))
        seq += 1


BEGAN = Began(workflow="two_steps")


class Bare:
    """The least an await can be."""

    def __await__(self) -> Generator[None, object, object]:
        """Wait once."""
        return (yield)


async def bare_two_steps() -> None:
    """The same shape without a kernel."""
    await Bare()
    await Bare()


def run_bare() -> None:
    """One coroutine, driven by hand."""
    coro = bare_two_steps()
    coro.send(None)
    coro.send(None)
    try:
        coro.send(None)
    except StopIteration:
        return
    raise AssertionError("the coroutine went on")


def per_second(run: Callable[[], None], tries: int = 20) -> float:
    """Runs a second: the best of some tries, because the machine may have other work meanwhile."""
    best_s = min(timeit.repeat(run, number=RUNS, repeat=tries))
    return RUNS / best_s


def main() -> None:
    """Print both rates and their ratio."""
    run_in_kernel()
    bare = per_second(run_bare)
    kernel = per_second(run_in_kernel)
    print(f"kernel: {kernel:,.0f} two-step workflows/s; bare coroutines: {bare:,.0f}/s; ratio 1:{bare / kernel:.1f}")


if __name__ == "__main__":
    main()
