"""How long a replay takes: a journal of 10,000 events (the bar is 500 ms) and a nursery of 1,000 branches (100 ms).

From the rows of the journal to a kernel that is where the live one was. Run as a script: ``make bench``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec

from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import AnyWorkflow, workflow
from flowtx_engine.journal.records import JournalRow
from flowtx_engine.kernel.events import Began, Event, Succeeded
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.runtime.history import event_of, row_of

BRANCHES = 1_000
EVENTS = 10_000
BYTES_KEPT = 200


@dataclass
class Order:
    """What a step is given: about as much as people pass."""

    account: str
    amount: int
    note: str


def step(number: int) -> None:
    """A step that is never performed here."""


def pay(order: Order) -> Order:
    """A step with an argument and a result, never performed here."""
    return order


@workflow
async def fan_out(tx: Tx) -> None:
    """Many branches at once."""
    async with tx.open_nursery() as nursery:
        for number in range(BRANCHES):
            nursery.start_step(step, number, compensate=step)


@workflow
async def chain(tx: Tx) -> None:
    """One step after another."""
    for number in range(EVENTS - 1):
        await tx.step(pay, Order("ann", number, "x" * BYTES_KEPT), compensate=pay)


def record(run: AnyWorkflow, value: bytes) -> list[JournalRow]:
    """The journal of a run whose steps all succeeded, of those that waited together the last one first."""
    kernel = Kernel(run, b"[]", gid="g")
    events = [Event(seq=0, at=0.0, address="", fact=Began(workflow=run.name))]
    kernel.feed(events[0])
    while kernel.ended is None:
        for asked in reversed(kernel.waiting):
            fact = Succeeded(call=asked.record, value=msgspec.Raw(value))
            events.append(Event(seq=len(events), at=0.0, address=asked.address, fact=fact))
            kernel.feed(events[-1])
    return [row_of("g", event) for event in events]


def replay_s(run: AnyWorkflow, rows: list[JournalRow]) -> float:
    """Seconds for one replay."""
    started_at = time.perf_counter()
    kernel = Kernel(run, b"[]", gid="g")
    for row in rows:
        kernel.feed(event_of(row))
    assert kernel.ended is not None
    return time.perf_counter() - started_at


def main() -> None:
    """Print the best of five for each."""
    order = msgspec.json.encode(Order("ann", 1, "x" * BYTES_KEPT))
    for run, value in ((fan_out, b"null"), (chain, order)):
        rows = record(run, value)
        size = sum(len(row.data) for row in rows)
        best_s = min(replay_s(run, rows) for _ in range(5))
        print(f"replay of {run.name}, {len(rows):,} events of {size // len(rows):,} bytes: {best_s * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
