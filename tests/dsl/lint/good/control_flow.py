"""Good workflows in every shape of control flow: match, walrus, async for, races, loops, closures."""

import contextlib
import functools
import logging
import operator
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypedDict, TypeVar

import flowtx
from flowtx import Tx, workflow

if TYPE_CHECKING:
    from trio import Nursery

log = logging.getLogger(__name__)
T = TypeVar("T")
LIMITS = {"small": 10, "large": 100}
NAMES = frozenset({"a", "b"})


class State(Enum):
    NEW = "new"
    DONE = "done"


class Point(NamedTuple):
    x: int
    y: int


class Row(TypedDict):
    name: str
    cents: int


class Prices(Protocol):
    def of(self, name: str) -> int: ...


@dataclass(frozen=True)
class Cart:
    rows: tuple[Row, ...]
    state: State = State.NEW

    def total(self) -> int:
        return sum(row["cents"] for row in self.rows)

    @property
    def names(self) -> set[str]:
        return {row["name"] for row in self.rows}

    @functools.cached_property
    def largest(self) -> int:
        return max((row["cents"] for row in self.rows), default=0)


def price(name: str) -> int:
    return len(name)


def refund(name: str, *, result: int) -> None: ...


def group(rows: list[Row]) -> dict[str, list[Row]]:
    grouped: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["name"]].append(row)
    return dict(grouped)


@asynccontextmanager
async def reserved(tx: Tx, name: str) -> AsyncIterator[int]:
    cents = await tx.step(price, name, compensate=refund)
    yield cents


async def pages(tx: Tx, count: int) -> AsyncIterator[int]:
    for page in range(count):
        yield await tx.step(price, str(page))


async def first(tx: Tx, *branches: Callable[[], Awaitable[T]]) -> T:
    winners: list[T] = []

    async with tx.open_nursery() as nursery:

        async def race(branch: Callable[[], Awaitable[T]]) -> None:
            winners.append(await branch())
            nursery.cancel_scope.cancel()

        for branch in branches:
            nursery.start_soon(race, branch)
    return winners[0]


@workflow
async def shapes(
    tx: Tx, cart: Cart, kind: Literal["small", "large"], at: Point | None = None
) -> dict[str, int]:
    match cart:
        case Cart(rows=(), state=State.NEW):
            return {}
        case Cart(rows=[{"name": name, "cents": cents}]) if cents > LIMITS[kind]:
            await tx.step(price, name, compensate=refund)
        case Cart(rows=[_, *rest]):
            log.info("%d more", len(rest))
        case _:
            pass
    if (total := cart.total()) > cart.largest and at is not None:
        total += at.x
    async for page in pages(tx, 3):
        total += page
    doubled = [page * 2 async for page in pages(tx, 2)]
    async with reserved(tx, "seat") as seat, contextlib.AsyncExitStack() as stack:
        total += seat
        await stack.enter_async_context(reserved(tx, "room"))

    async def slow() -> int:
        await tx.sleep(3600)
        return 1

    async def fast() -> int:
        return await tx.step(price, "fast")

    total += await first(tx, slow, fast)
    counts = Counter(row["name"] for row in cart.rows)
    grouped = group(list(cart.rows))
    todo = deque(sorted(cart.names & NAMES))
    while todo:
        item = todo.popleft()
        if item in NAMES and (got := await tx.step(price, item)):
            total += got
            continue
    send, receive = tx.open_memory_channel[str](0)
    async with tx.open_nursery() as nursery:

        async def produce() -> None:
            async with send:
                for name in sorted(grouped):
                    await send.send(name)

        nursery.start_soon(produce)
        async with receive:
            async for name in receive:
                counts[name] += 1
    states = {state: 0 for state in State}
    for state in State:
        states[state] += 1
    with tx.move_on_after(timedelta(days=1).total_seconds()) as scope:
        await tx.signal("approved", type=bool)
    if scope.cancelled_caught:
        raise flowtx.Abort("not approved")
    new = replace(cart, state=State.DONE)
    total += functools.reduce(operator.add, doubled, 0) + len(new.rows)
    result = {name: counts[name] for name in sorted(counts)}
    return result | {"total": total}


@workflow
async def guarded(tx: Tx, name: str, tries: int = 3) -> str:
    """Handlers that are narrow, pass on, or stand around nothing that waits."""
    try:
        return str(await tx.step(price, name))
    except flowtx.Refused:
        log.warning("refused")
    return name


@workflow
async def handled(tx: Tx, name: str, tries: int = 3) -> str:
    """Handlers that pass on, and those around what does not wait."""
    try:
        number = int(name)
    except BaseException:
        number = 0
    try:
        await tx.step(price, name)
    except BaseException as error:
        log.info("%r passes", error)
        raise
    try:
        await tx.step(price, name)
    except Exception as error:
        raise RuntimeError("told in other words") from error
    finally:
        log.info("over")
    try:
        async with tx.open_nursery() as nursery:
            nursery.start_step(price, name)
    except* flowtx.Refused as refused:
        log.info("%d refused", len(refused.exceptions))
    except* (ValueError, KeyError):
        pass
    with contextlib.suppress(flowtx.Refused, KeyError):
        await tx.step(price, name)
    for attempt in range(tries):
        try:
            await tx.step(price, name)
            break
        except Exception as error:
            if attempt == tries - 1:
                raise
            log.info("again after %s", error)
    return str(number)
