"""Parallel branches, deadlines, signals, children and the other patterns."""

import flowtx
from flowtx import Abort, Refused, Tx


async def book_hotel(city: str) -> str:
    return city


async def book_hotel_back(city: str) -> None:
    print(city)


async def book_flight(city: str) -> str:
    return city


def try_seat(city: str) -> None:
    print(city)


def confirm_seat(city: str) -> None:
    print(city)


def cancel_seat(city: str) -> None:
    print(city)


class NoRoom(Exception):
    pass


@flowtx.workflow
async def journey(tx: Tx, cities: list[str]) -> dict[str, str]:
    booked: dict[str, str] = {}
    total = 0

    async def branch(city: str) -> None:
        nonlocal total
        booked[city] = await tx.step(book_hotel, city, compensate=book_hotel_back)
        total += 1

    async with tx.open_nursery() as nursery:
        for city in cities:
            nursery.start_soon(branch, city)
        nursery.start_soon(one_flight, tx, cities[0])
        nursery.start_step(book_flight, cities[-1])
    try:
        with tx.fail_after(60):
            answer = await tx.signal("approved", type=bool)
    except Refused as refusal:
        raise Abort("refused") from refusal
    with tx.move_on_after(5) as scope:
        await tx.sleep(10)
    if scope.cancelled_caught or not answer:
        raise Abort("nobody approved")
    await tx.tcc(try_seat, confirm_seat, cancel_seat, cities[0])
    child = await tx.child(one_flight, cities[0], gid=f"{tx.gid}-1")
    if tx.changed("longer-trips"):
        await tx.message("http://mail/send", {"child": child})
    tx.expose("booked", lambda: dict(booked))
    return booked


@flowtx.workflow
async def one_flight(tx: Tx, city: str) -> str:
    """Called as a helper and as a child."""
    try:
        return await tx.step(book_flight, city)
    except* NoRoom as group:
        print(group)
        raise


@flowtx.workflow
async def both(tx: Tx, city: str) -> None:
    event = tx.Event()
    async with tx.open_nursery() as nursery:
        nursery.start_soon(waiter, event)
        await nursery.start(one_flight, tx, city)
        event.set()
    await one_flight(tx, city)
    await (one_flight(tx, city) if city else tx.sleep(1))
    later = tx.step(book_flight, city)
    print("asked", city)
    await later
    handle = nursery.start_step(book_flight, city)
    await handle
    await tx.restart(city)


async def waiter(event: object) -> None:
    await event.wait()
