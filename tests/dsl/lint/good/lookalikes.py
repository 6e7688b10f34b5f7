"""Things that look like faults by their name and are none."""

import asyncio
import datetime as dt
import json
import os.path
import random
import time
import uuid
from collections import ChainMap, OrderedDict
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from urllib.parse import quote, urlencode, urljoin
from zoneinfo import ZoneInfo

import httpx
import trio

import flowtx
from flowtx import Tx, workflow

BERLIN = ZoneInfo("Europe/Berlin")
NAMESPACE = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
STARTED = time.time()
REGION = os.environ.get("REGION", "eu")
DICE = random.Random(7)


class Timer:
    """Has methods named as the clock's."""

    def __init__(self, hour: int) -> None:
        self.hour = hour

    def time(self) -> int:
        return self.hour

    def sleep(self, seconds: float) -> float:
        return seconds

    def now(self) -> int:
        return self.hour


def read_clock() -> float:
    """A step may."""
    return time.time() + random.random()


async def ask(url: str) -> str:
    """A step may, with trio."""
    async with httpx.AsyncClient() as client:
        await trio.sleep(0.1)
        return (await client.get(url)).text


@workflow
async def lookalikes(tx: Tx, begins: datetime, day: date, hour: int, url: str) -> str:
    timer = Timer(hour)
    a = timer.time() + timer.now() + timer.sleep(3)
    b = begins.time().hour + begins.now_is if False else begins.hour
    c = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=1)
    d = datetime.fromtimestamp(0, timezone.utc).astimezone(BERLIN)
    e = datetime.fromisoformat("2026-01-01").date()
    f = tx.now().astimezone(BERLIN).replace(hour=8)
    g = dt.datetime.combine(day, dt.time(8), tzinfo=UTC)
    h = uuid.uuid5(NAMESPACE, url)
    i = uuid.UUID(url) if len(url) == 36 else tx.uuid4()
    j = random.Random(hour).random()
    k = tx.random.choice([1, 2, 3])
    m = os.path.join("a", os.path.basename(url)) + os.sep
    n = PurePosixPath(url).name
    o = time.strftime("%Y", time.gmtime(0)) + time.ctime(0)
    p = quote(url) + urljoin(url, "x") + urlencode({"a": 1})
    q = httpx.URL(url).host
    r = json.loads(json.dumps({"a": Decimal("1").to_eng_string()}))
    s = OrderedDict(a=1) | ChainMap({"b": 2})
    t = begins.strftime("%H") + begins.isoformat()
    u = asyncio.iscoroutinefunction(ask)
    v = await tx.step(read_clock)
    w = await tx.step(ask, url, timeout_s=5)
    x = f"{REGION} {STARTED}"
    sleep = tx.sleep
    await sleep(1)
    now = tx.now
    y = now()
    try:
        z = await tx.step(ask, url)
    except (httpx.HTTPError, trio.TooSlowError) as error:
        z = str(error)
    return f"{a}{b}{c}{d}{e}{f}{g}{h}{i}{j}{k}{m}{n}{o}{p}{q}{r}{s}{t}{u}{v}{w}{x}{y}{z}"


class FakeClock:
    """A dependency that happens to have a clock's method."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


@workflow
async def shadowed(tx: Tx, time: int, random: list[int], id: int) -> int:
    uuid4 = tx.uuid4
    clock = FakeClock()
    datetime = clock
    open = tx.changed("open")
    hash = {"a": 1}
    total = time + sum(random) + id + hash.get("a", 0) + bool(open)
    for os in ("linux", "windows"):
        total += len(os)
    print(uuid4(), datetime.now(), [input for input in random])
    await tx.sleep(1)
    return total


def not_a_workflow(tx: str) -> float:
    """Takes something else by the name of tx."""
    return time.time() + len(tx)


async def main() -> None:
    """Starts the engine, and may do everything."""
    async with flowtx.open("sqlite:///x.db", workflows=[lookalikes]) as engine:
        await trio.sleep(1)
        gid = f"order-{uuid.uuid4()}-{time.time_ns()}"
        await engine.run(shadowed, 1, [random.randint(1, 2)], 3, gid=gid)


if __name__ == "__main__":
    trio.run(main)
