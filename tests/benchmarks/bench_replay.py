"""How long the kernel takes to replay the journal of a nursery of 1,000 branches. The bar is 100 ms.

Run as a script: ``make bench``.
"""

from __future__ import annotations

import time

import msgspec

from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import workflow
from flowtx_engine.kernel.events import Began, Event, Succeeded
from flowtx_engine.kernel.kernel import Kernel

BRANCHES = 1_000


def step(number: int) -> None:
    """A step that is never performed here."""


@workflow
async def fan_out(tx: Tx) -> None:
    """The workflow that is replayed."""
    async with tx.open_nursery() as nursery:
        for number in range(BRANCHES):
            nursery.start_step(step, number, compensate=step)


def record() -> list[Event]:
    """The journal of a run whose branches all succeeded, the last one first."""
    kernel = Kernel(fan_out, b"[]", gid="g")
    events = [Event(seq=0, at=0.0, address="", fact=Began(workflow="fan_out"))]
    kernel.feed(events[0])
    for asked in reversed(kernel.waiting):
        fact = Succeeded(call=asked.record, value=msgspec.Raw(b"null"))
        events.append(Event(seq=len(events), at=0.0, address=asked.address, fact=fact))
        kernel.feed(events[-1])
    return events


def replay_s(events: list[Event]) -> float:
    """Seconds for one replay."""
    started_at = time.perf_counter()
    kernel = Kernel(fan_out, b"[]", gid="g")
    for event in events:
        kernel.feed(event)
    assert kernel.ended is not None
    return time.perf_counter() - started_at


def main() -> None:
    """Print the best of ten."""
    events = msgspec.json.decode(msgspec.json.encode(record()), type=list[Event])
    best_s = min(replay_s(events) for _ in range(10))
    print(f"replay of {BRANCHES:,} branches: {best_s * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
