"""Calls as people write them, with the types that checkers must find. Checked, never run."""

from __future__ import annotations

from functools import partial
from typing import Any, assert_type

from google.protobuf.wrappers_pb2 import StringValue

import flowtx


async def book(nights: int, guest: str) -> float:
    return nights + len(guest)


def pay(amount: int) -> str:
    return str(amount)


def many(first: int, *rest: str) -> list[str]:
    return [str(first), *rest]


async def with_default(nights: int, guest: str = "ann") -> bytes:
    return guest.encode() * nights


async def book_back(nights: int, guest: str) -> None: ...


async def book_back_knowing(nights: int, guest: str, *, result: float | flowtx.Unknown) -> None: ...


def pay_back_whatever(*args: object) -> None: ...


class Bank:
    async def withdraw(self, amount: int) -> str:
        return str(amount)

    async def __call__(self, amount: int) -> bytes:
        return bytes(amount)


async def helper(tx: flowtx.Tx, nights: int) -> float:
    return await tx.step(book, nights, "ann")


async def nothing() -> None: ...


@flowtx.workflow
async def trip(tx: flowtx.Tx, nights: int, guest: str) -> str:
    assert_type(await tx.step(book, nights, guest), float)
    assert_type(await tx.step(book, nights, guest, compensate=book_back), float)
    assert_type(await tx.step(book, nights, guest, compensate=book_back_knowing), float)
    assert_type(await tx.step(book, nights, guest, compensate=flowtx.http("http://hotel/cancel")), float)
    assert_type(await tx.step(pay, 3, compensate=pay_back_whatever, timeout_s=1.5), str)
    assert_type(await tx.step(many, 1), list[str])
    assert_type(await tx.step(many, 1, "a", "b"), list[str])
    assert_type(await tx.step(with_default, 1), bytes)
    assert_type(await tx.step(with_default, 1, "bob"), bytes)
    assert_type(await tx.step(Bank().withdraw, 1), str)
    assert_type(await tx.step(Bank(), 1), bytes)
    assert_type(await tx.step(partial(pay, 1)), str)
    assert_type(await tx.step(lambda: 3), int)
    assert_type(await tx.step(nothing), None)
    assert_type(await tx.step(flowtx.http("http://hotel/book", result=int), {"nights": nights}), int)
    assert_type(await tx.step(flowtx.http("http://hotel/book", result=list[int]), nights), list[int])
    assert_type(await tx.step(flowtx.http("http://hotel/book"), nights), Any)
    assert_type(await tx.step(flowtx.grpc("hotel:50051/hotel.Hotel/Book"), b"\x08\x02"), bytes)
    assert_type(await tx.step(flowtx.grpc("hotel:50051/hotel.Hotel/Book", result=StringValue), nights), StringValue)
    assert_type(await tx.step(flowtx.json_rpc("http://hotel/rpc", method="book"), {"nights": nights}), Any)
    assert_type(await tx.step(flowtx.json_rpc("http://hotel/rpc", method="book", result=float)), float)
    assert_type(await tx.step(pay, 3, compensate=flowtx.grpc("hotel:50051/hotel.Hotel/Cancel")), str)
    assert_type(await helper(tx, nights), float)
    assert_type(await tx.sleep(1), None)
    assert_type(tx.random.random(), float)
    async with tx.open_nursery() as nursery:
        nursery.start_soon(helper, tx, nights)
    return "ok"


@flowtx.workflow(name="inner", version="2")
async def inner(tx: flowtx.Tx) -> None:
    assert_type(await trip(tx, 1, "ann"), str)


assert_type(trip, flowtx.Workflow[str, int, str])
assert_type(inner, flowtx.Workflow[None])


async def run(engine: flowtx.Engine) -> None:
    assert_type(await engine.run(trip, 1, "ann"), str)
    assert_type(await engine.run(trip, 1, "ann", gid="g"), str)
    assert_type(await engine.run(inner), None)
    assert_type(await engine.start(trip, 1, "ann"), str)
