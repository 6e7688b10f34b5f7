"""State of the run, kept in all the ways a run may keep it."""

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flowtx import Event, Nursery, ReceiveChannel, Tx, workflow

Handler = Callable[[Tx, int], Any]
HANDLERS: dict[str, Handler] = {}


def handler(name: str) -> Callable[[Handler], Handler]:
    """Registers when the module is imported, which is no run."""

    def register(fn: Handler) -> Handler:
        HANDLERS[name] = fn
        return fn

    return register


@handler("a")
async def handle_a(tx: Tx, cents: int) -> int:
    return await tx.step(charge, cents)


def charge(cents: int) -> int:
    STEPS_DONE.append(cents)
    return cents


STEPS_DONE: list[int] = []


@dataclass
class Progress:
    done: int = 0
    seen: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.done += 1
        self.seen.add(text)
        self.log.append(text)


class Booking:
    """Helpers as methods, with state of the run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rooms: list[int] = []

    async def book(self, tx: Tx, count: int) -> "Booking":
        for number in range(count):
            self.rooms.append(await tx.step(charge, number))
        return self

    async def in_parallel(self, tx: Tx, nursery: Nursery, count: int) -> None:
        for number in range(count):
            nursery.start_soon(self.one, tx, number)

    async def one(self, tx: Tx, number: int) -> None:
        self.rooms.append(await tx.step(charge, number))


@dataclass
class Stage:
    """What branches share, handed on as one."""

    ready: Event
    items: ReceiveChannel[int]


async def consume(stage: Stage, done: Event, items: ReceiveChannel[int], results: list[int]) -> None:
    await stage.ready.wait()
    async for item in items:
        results.append(item)
    results.append(await stage.items.receive())
    done.set()


async def await_all(events: list[Event], by_name: dict[str, Event]) -> None:
    for event in events:
        await event.wait()
    await by_name["a"].wait()
    for _, event in sorted(by_name.items()):
        await event.wait()


@workflow
async def pipeline(tx: Tx, count: int) -> list[int]:
    send, receive = tx.open_memory_channel[int](0)
    (more, rest), started = tx.open_memory_channel[int](math.inf), tx.Event()
    events = [tx.Event() for _ in range(count)]
    by_name = {"a": tx.Event(), "b": tx.Event()}
    results: list[int] = []
    stage = Stage(started, rest)
    async with tx.open_nursery() as nursery:
        nursery.start_soon(consume, stage, events[0], receive, results)
        nursery.start_soon(await_all, events, by_name)
        stage.ready.set()
        async with send, more:
            for number in range(count):
                await send.send(number)
                more.send_nowait(number)
        for event in (*events, *by_name.values()):
            event.set()
        await events[0].wait()
        [first, *_] = events
        await first.wait()
    return results


@workflow
async def keeps(tx: Tx, kind: str, count: int) -> list[str]:
    progress = Progress()
    tx.expose("progress", lambda: progress.done)
    numbers = itertools.count()
    results: dict[int, int] = {}
    total = 0

    async def branch(number: int) -> None:
        nonlocal total
        results[number] = await tx.step(charge, number)
        total += results[number]
        progress.note(str(next(numbers)))

    async with tx.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(branch, number)
        nursery.start_soon(functools.partial(branch, 7))
        nursery.start_step(charge, 3, compensate=charge)
    booking = await Booking(kind).book(tx, count)
    async with tx.open_nursery() as nursery:
        await booking.in_parallel(tx, nursery, count)
    total += await HANDLERS[kind](tx, count)
    coroutine = handle_a(tx, count)
    total += await coroutine
    later = [handle_a(tx, number) for number in range(count)]
    for one in later:
        total += await one
    ordered = sorted(progress.seen)
    if "x" in progress.seen or not progress.seen.isdisjoint({"y", "z"}):
        ordered.append("x")
    progress.seen.clear()
    biggest = max(progress.seen, default="")
    tx.guard("address", lambda value: value or progress.note("bad"), type=str)
    update = await tx.update("address", type=str)
    update.answer(f"{update.value} {len(ordered)} {booking.name} {biggest} {total}")
    tx.message(charge, total)
    await tx.message(charge, total)
    tx.compensate(charge, total)
    return ordered
