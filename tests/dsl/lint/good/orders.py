"""A long workflow in many idioms: contexts that hold tx, patterns, partials, groups of errors."""

from __future__ import annotations

import base64
import collections
import contextlib
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import hashlib
import itertools
import json
import logging
import math
import operator
import string
import typing as t
from collections.abc import AsyncIterator, Sequence

import flowtx
from flowtx import Refused, Tx

logger = logging.getLogger(__name__)
LIMITS: t.Final = {"a": 1}
NAMES = ("a", "b")
counter: collections.Counter[str] = collections.Counter()


@dataclasses.dataclass
class Ctx:
    tx: Tx
    total: int = 0

    async def pay(self, n: int) -> int:
        self.total += n
        return await self.tx.step(charge, n)


class Kind(enum.Enum):
    A = "a"


@dataclasses.dataclass(frozen=True)
class Item:
    name: str
    at: dt.datetime
    kind: Kind
    price: decimal.Decimal


async def charge(n: int) -> int:
    return n


async def refund(n: int, *, result: int | flowtx.Unknown) -> None: ...
def names_of(items: Sequence[Item]) -> list[str]:
    out = []
    for it in items:
        out.append(it.name)
    out.sort()
    return out


async def use(ctx: Ctx, n: int) -> int:
    return await ctx.pay(n) + await ctx.tx.step(charge, n)


@contextlib.asynccontextmanager
async def held(tx: Tx, n: int) -> AsyncIterator[int]:
    got = await tx.step(charge, n, compensate=refund)
    yield got


@flowtx.workflow(name="orders", version="3")
async def orders(tx: Tx, items: list[Item], limit: int = 3, note: str | None = None) -> dict[str, int]:
    ctx = Ctx(tx)
    done: dict[str, int] = {}
    pending = collections.deque(items)
    errors: list[Exception] = []
    while pending:
        it = pending.popleft()
        try:
            done[it.name] = await ctx.pay(limit)
        except Refused as e:
            errors.append(e)
            logger.warning("refused %s", it)
            continue
        finally:
            logger.info("next")
    for key, group in itertools.groupby(sorted(items, key=operator.attrgetter("name")), key=lambda i: i.name):
        done[key] = len(list(group))
    digest = hashlib.sha256(json.dumps(done, sort_keys=True).encode()).hexdigest()
    match items:
        case [first, *rest] if rest:
            await use(ctx, len(rest))
        case [only]:
            await use(ctx, 1)
        case _:
            pass
    async with held(tx, 3) as h, tx.open_nursery() as nursery:
        for i in range(h):
            nursery.start_soon(use, ctx, i)
            nursery.start_soon(functools.partial(tx.step, charge), i)
    at = tx.now() + dt.timedelta(days=1)
    deadline = dt.datetime.combine(at.date(), dt.time(8), tzinfo=dt.UTC)
    await tx.sleep_until(deadline)
    x = copy.deepcopy(done)
    x.update(done)
    x.setdefault("a", LIMITS["a"])
    if unique := {i.name for i in items}:
        await tx.step(charge, len(unique))
        assert "a" in unique
    total = functools.reduce(operator.add, done.values(), 0)
    for name in dict.fromkeys(names_of(items)):
        total += done[name]
    ids = [str(tx.uuid4()) for _ in items]
    text = "".join(tx.random.choices(string.ascii_letters, k=3))
    results: list[int] = []

    async def branch(n: int, /) -> None:
        results.append(await tx.step(charge, n))

    with tx.move_on_after(3):
        async with tx.open_nursery() as nn:
            for n in range(3):
                nn.start_soon(branch, n)
    pay = functools.partial(tx.step, charge)
    await pay(3)
    word = tx.sleep
    await word(3)
    chosen = charge if limit else print
    await tx.step(chosen, 3)
    for fn, arg in [(charge, 1), (charge, 2)]:
        await tx.step(fn, arg)
    if errors:
        raise ExceptionGroup("several", errors)
    return {**x, digest: total, text: len(ids), base64.b64encode(b"a").decode(): math.floor(1.5)}
