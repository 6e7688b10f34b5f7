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


async def has_booked(nights: int, guest: str) -> float | flowtx.NotDone:
    return flowtx.NOT_DONE if guest else 3.0


def has_paid(amount: int) -> str | flowtx.NotDone:
    return flowtx.NOT_DONE


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
    assert_type(await tx.step(book, nights, guest, effect=flowtx.once), float)
    assert_type(await tx.step(book, nights, guest, effect=flowtx.idempotent, key="order-7"), float)
    assert_type(await tx.step(book, nights, guest, effect=flowtx.check(has_booked)), float)
    assert_type(await tx.step(pay, 3, effect=flowtx.check(has_paid)), str)
    assert_type(await tx.step(flowtx.http("http://hotel/book", result=int), nights, effect=flowtx.once), int)
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
    assert_type(await tx.step(flowtx.queue("redis://hotel/0/bookings"), {"nights": nights}), None)
    assert_type(await tx.step(pay, 3, compensate=flowtx.grpc("hotel:50051/hotel.Hotel/Cancel")), str)
    assert_type(await helper(tx, nights), float)
    assert_type(await tx.sleep(1), None)
    assert_type(tx.random.random(), float)
    async with tx.open_nursery() as nursery:
        nursery.start_soon(helper, tx, nights)
        nursery.start_step(book, nights, guest, effect=flowtx.check(has_booked), key="order-7")
        nursery.start_step(pay, 3, effect=flowtx.once)
    return "ok"


@flowtx.workflow(name="inner", version="2")
async def inner(tx: flowtx.Tx) -> None:
    assert_type(await trip(tx, 1, "ann"), str)


any_input: flowtx.Workflow[..., str] = trip
assert_type(inner, flowtx.Workflow[[], None])


async def run(engine: flowtx.Engine) -> None:
    assert_type(await engine.run(trip, 1, "ann"), str)
    assert_type(await engine.run(trip, 1, "ann", gid="g"), str)
    assert_type(await engine.run(inner), None)
    assert_type(await engine.start(trip, 1, "ann"), str)
    assert_type(await engine.decide("g", "0", "succeeded", value=3), None)
    assert_type(await engine.decide("g", "0/2/1", "refused", reason="no record of it"), None)
    assert_type(await engine.tasks("g"), flowtx.RunView)
    assert_type((await engine.tasks("g")).waiting, list[flowtx.Waiting])


class Codec:
    def encode(self, payload: bytes, context: flowtx.PayloadContext) -> bytes:
        return payload

    def decode(self, stored: bytes, context: flowtx.PayloadContext) -> bytes:
        return stored


async def opened() -> None:
    async with flowtx.open("memory://", codec=Codec(), limits=flowtx.EngineLimits(payload_bytes_max=1)) as engine:
        assert_type(engine, flowtx.Engine)
