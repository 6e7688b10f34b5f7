"""Functions and data of every shape that people pass, with the types that checkers must find. Checked, never run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import (
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    assert_type,
    overload,
)

import flowtx

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")
UserId = NewType("UserId", int)


class Row(TypedDict):
    name: str
    cents: int


class Point(NamedTuple):
    x: int
    y: int = 0


@dataclass
class Order:
    id: str
    cents: int = 0

    def total(self) -> int:
        return self.cents

    @classmethod
    def parse(cls, text: str) -> Order:
        return cls(text)

    @staticmethod
    def price(text: str) -> Decimal:
        return Decimal(text)


def maybe(x: int) -> int | None:
    return x or None


def maybe_given(x: Optional[str] = None) -> Optional[Order]:  # noqa: UP045 - as people write it
    return Order(x) if x else None


async def maybe_later(x: int | None) -> Order | None:
    return Order(str(x))


def same(x: T) -> T:
    return x


async def first_of(x: list[T]) -> T:
    return x[0]


def of_row(row: Row) -> Row:
    return row


def of_user(user: UserId) -> UserId:
    return user


def with_keyword(a: int, *, b: str = "x") -> bytes:
    return b.encode() * a


def needs_keyword(a: int, *, b: str) -> bytes:
    return b.encode() * a


def literal(a: Literal["x", "y"]) -> Literal[1, 2]:
    return 1 if a == "x" else 2


@overload
def overloaded(x: int) -> int: ...
@overload
def overloaded(x: str) -> str: ...
def overloaded(x: int | str) -> int | str:
    return x


def plainly(fn: Callable[P, R]) -> Callable[P, R]:
    return fn


def waiting(fn: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    return fn


@plainly
def decorated(a: int, b: str) -> float:
    return a + len(b)


@waiting
async def decorated_async(a: int, b: str) -> float:
    return a + len(b)


class Repository(Generic[T]):
    def get(self, id: int) -> T:
        raise LookupError(id)

    async def find(self, id: int) -> T | None:
        raise LookupError(id)


class Gateway(Protocol):
    def charge(self, cents: int) -> str: ...
    async def charge_later(self, cents: int) -> str: ...


@flowtx.workflow
async def fulfil(tx: flowtx.Tx, order: Order, retries: int = 3) -> Order | None:
    assert_type(await tx.step(maybe, 3), int | None)
    assert_type(await tx.step(maybe_given), Order | None)
    assert_type(await tx.step(maybe_given, None), Order | None)
    assert_type(await tx.step(maybe_given, "x"), Order | None)
    assert_type(await tx.step(maybe_later, None), Order | None)
    assert_type(await tx.step(maybe_later, 3, compensate=maybe_later), Order | None)
    assert_type(await tx.step(same, 3), int)
    assert_type(await tx.step(same, order), Order)
    assert_type(await tx.step(first_of, [order]), Order)
    assert_type(await tx.step(of_row, Row(name="x", cents=3)), Row)
    assert_type(await tx.step(of_user, UserId(3)), UserId)
    assert_type(await tx.step(with_keyword, 3), bytes)
    assert_type(await tx.step(partial(with_keyword, b="y"), 3), bytes)
    assert_type(await tx.step(partial(needs_keyword, b="y"), 3), bytes)
    assert_type(await tx.step(partial(with_keyword, 3, b="y")), bytes)
    assert_type(await tx.step(literal, "x"), Literal[1, 2])
    assert_type(await tx.step(overloaded, 3), int)
    assert_type(await tx.step(overloaded, "3"), str)
    assert_type(await tx.step(decorated, 3, "x"), float)
    assert_type(await tx.step(decorated_async, 3, "x"), float)
    assert_type(await tx.step(Order.parse, "x"), Order)
    assert_type(await tx.step(Order.price, "x"), Decimal)
    assert_type(await tx.step(Order, "x", 3), Order)
    assert_type(await tx.step(Point, 3), Point)
    assert_type(await tx.step(order.total), int)
    assert_type(await tx.step(Order.total, order), int)
    assert_type(await tx.step(len, [1]), int)
    assert_type(await tx.tcc(maybe, maybe, maybe, 3), int | None)
    assert_type(await tx.step(flowtx.http("http://hotel/book", result=Order | None), order), Order | None)
    return order


async def generic(tx: flowtx.Tx, orders: Repository[Order], gateway: Gateway) -> None:
    assert_type(await tx.step(orders.get, 3), Order)
    assert_type(await tx.step(orders.find, 3), Order | None)
    assert_type(await tx.step(gateway.charge, 3), str)
    assert_type(await tx.step(gateway.charge_later, 3), str)


@flowtx.workflow
async def from_outside(tx: flowtx.Tx, *names: str) -> dict[str, int]:
    assert_type(await tx.signal("x", type=Order), Order)
    assert_type(await tx.signal("x"), Any)
    assert_type(await tx.signal("x", type=int | None), int | None)
    assert_type(await tx.signal("x", type=Literal["yes", "no"]), Literal["yes", "no"])
    assert_type(await tx.signal("x", type=Optional[Order]), Order | None)  # noqa: UP045 - as people write it
    assert_type(await tx.signal("x", type=list[Order]), list[Order])
    assert_type((await tx.update("x", type=Order | Row)).value, Order | Row)
    tx.guard("x", lambda order: order.cents > 3, type=Order)
    assert_type(await tx.child(fulfil, Order("x")), Order | None)
    assert_type(await tx.child(fulfil, Order("x"), 3, gid="c"), Order | None)
    assert_type(await tx.detach(fulfil, Order("x")), str)
    assert_type(await fulfil(tx, Order("x")), Order | None)
    assert_type(await fulfil(tx, Order("x"), retries=2), Order | None)
    return dict.fromkeys(names, 1)


async def run(engine: flowtx.Engine) -> None:
    assert_type(await engine.run(fulfil, Order("x")), Order | None)
    assert_type(await engine.run(fulfil, Order("x"), 3), Order | None)
    assert_type(await engine.run(from_outside), dict[str, int])
    assert_type(await engine.run(from_outside, "a", "b"), dict[str, int])
    gid = await engine.start(fulfil, Order("x"), gid="x", delay_s=3)
    await engine.schedule("nightly", fulfil, Order("x"), cron="0 3 * * *")
    assert_type(await engine.wait(gid), Any)
    assert_type(await engine.wait(gid, type=Order | None), Order | None)
    assert_type(await engine.query(gid, "state", 1, type=Row), Row)
    assert_type(await engine.update(gid, "add", "lamp", type=int), int)
    assert_type(await engine.update(gid, "add", "lamp", key="click-1"), Any)
