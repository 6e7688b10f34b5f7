"""Faults in methods, nested functions, decorated functions, lambdas, dataclasses and match statements."""

import functools
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import ParamSpec, TypeVar

import requests

from flowtx import Tx, workflow

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Order:
    id: str
    lines: list[str] = field(default_factory=list)

    def is_late(self) -> bool:
        return datetime.now().hour > 20  # expect: FTX001

    @property
    def age_s(self) -> float:
        return time.time()  # expect: FTX001

    @staticmethod
    def lucky() -> bool:
        return random.random() > 0.5  # expect: FTX002

    @classmethod
    def fresh(cls) -> "Order":
        return cls(str(time.time_ns()))  # expect: FTX001

    async def fulfil(self, tx: Tx) -> None:
        time.sleep(1)  # expect: FTX006
        await tx.sleep(1)


class Fulfilment:
    def __init__(self, tx: Tx, order: Order) -> None:
        self.tx = tx  # expect: FTX031
        self.order = order

    async def run(self, tx: Tx) -> None:
        await self.pick(tx)

    async def pick(self, tx: Tx) -> None:
        requests.post("https://warehouse", json=self.order.lines)  # expect: FTX004
        await tx.checkpoint()


def logged(fn: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    @functools.wraps(fn)
    async def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        return await fn(*args, **kwargs)

    return inner


@workflow
@logged
async def decorated(tx: Tx, order: Order) -> None:
    os.makedirs("/tmp/x")  # expect: FTX004
    await tx.sleep(1)


@workflow
async def fulfilment(tx: Tx, order: Order) -> str:
    if order.is_late():
        await tx.sleep(60)
    age = order.age_s
    lucky = Order.lucky()
    other = Order.fresh()
    await order.fulfil(tx)
    await Fulfilment(tx, order).run(tx)

    async def branch(name: str) -> None:
        threading.Thread(target=print, args=(name,)).start()  # expect: FTX005
        await tx.sleep(1)

    async with tx.open_nursery() as nursery:
        for line in order.lines:
            nursery.start_soon(branch, line)

    def total() -> float:
        return random.gauss(1, 2)  # expect: FTX002

    match order.lines:
        case []:
            stamp = time.time()  # expect: FTX001
        case [only] if os.path.exists(only):  # expect: FTX004
            stamp = 1.0
        case [first, *_]:
            stamp = float(os.stat(first).st_mtime)  # expect: FTX004
        case _:
            stamp = 0.0

    async def later() -> None:
        await tx.sleep(1)

    later()  # expect: FTX012
    price = (lambda: random.choice([1, 2]))()  # expect: FTX002
    return f"{age}{lucky}{other}{total()}{stamp}{price}"
