"""The words for what is outside a step, as people write them, with the types that checkers must find. Never run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

import flowtx


@dataclass
class Order:
    number: int


async def reserve(number: int) -> str:
    return str(number)


def confirm(number: int) -> None: ...


async def confirm_knowing(number: int, *, result: str | flowtx.Unknown) -> None: ...


def cancel(number: int) -> None: ...


def price_is_fair(cents: int) -> None:
    if cents < 0:
        raise flowtx.Refused("too little")


@flowtx.workflow
async def shop(tx: flowtx.Tx, number: int) -> str:
    assert_type(await tx.signal("paid", type=Order), Order)
    assert_type(await tx.signal("paid"), Any)
    asked = await tx.update("price", type=int)
    assert_type(asked, flowtx.Update[int])
    assert_type(asked.value, int)
    asked.answer("yes")
    asked.refuse("no")
    tx.guard("price", price_is_fair, type=int)
    tx.expose("number", lambda: number)
    assert_type(tx.changed("fee"), bool)
    tx.compensate(cancel, number)
    tx.message(confirm, number)
    await tx.message(flowtx.http("http://mail/send"), {"n": number})
    assert_type(await tx.tcc(reserve, confirm, cancel, number), str)
    assert_type(await tx.tcc(reserve, confirm_knowing, cancel, number), str)
    assert_type(await tx.tcc(flowtx.http("http://x", result=int), confirm, cancel, number), int)
    assert_type(await tx.child(pay, number, "ann"), float)
    assert_type(await tx.child(pay, number, "ann", gid="p-1"), float)
    assert_type(await tx.detach(pay, number, "ann"), str)
    async with tx.savepoint():
        await tx.step(reserve, number)
    return "ok"


@flowtx.workflow
async def pay(tx: flowtx.Tx, number: int, who: str) -> float:
    if number:
        tx.restart(number - 1, who)
    return 1.0


async def operate(engine: flowtx.Engine) -> None:
    assert_type(await engine.signal("g", "paid", Order(1), key="k"), None)
    assert_type(await engine.update("g", "price", 3), Any)
    assert_type(await engine.query("g", "number"), Any)
    assert_type(await engine.cancel("g", reason="enough"), None)
    assert_type(await engine.hasten("g"), None)
