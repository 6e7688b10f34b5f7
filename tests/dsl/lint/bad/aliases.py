"""Forbidden things under other names: renamed, kept in variables, defaults, tables, classes and partials."""

import datetime
import functools
import os as operating_system
import random as dice
import secrets as hidden
import time as clock
from datetime import datetime as dt
from datetime import timezone
from functools import partial
from os import environ as env
from os import getenv
from time import time as now
from uuid import uuid4 as fresh
from zoneinfo import ZoneInfo

import flowtx
from flowtx import Tx as Transaction
from flowtx import workflow as durable

utcnow = dt.utcnow
BERLIN = ZoneInfo("Europe/Berlin")
later = functools.partial(clock.time)
MAKERS = {"id": fresh}
get = env.get


class Clock:
    now = staticmethod(clock.time)


@durable
async def renamed(tx: Transaction, amount: int) -> str:
    a = now()  # expect: FTX001
    b = clock.monotonic_ns()  # expect: FTX001
    c = dt.now(timezone.utc)  # expect: FTX001
    d = datetime.datetime.now(tz=BERLIN)  # expect: FTX001
    e = utcnow()  # expect: FTX001
    f = fresh()  # expect: FTX002
    g = dice.randint(0, amount)  # expect: FTX002
    h = hidden.token_hex(8)  # expect: FTX002
    i = operating_system.environ.get("REGION", "eu")  # expect: FTX003
    j = env["REGION"]  # expect: FTX003
    k = getenv("REGION")  # expect: FTX003
    m = later()  # expect: FTX001
    n = partial(dice.choice, [1, 2])()  # expect: FTX002
    o = get("REGION")  # expect: FTX003
    stamp = clock.time
    p = stamp()  # expect: FTX001
    q = dice.SystemRandom().random()  # expect: FTX002
    r = dice.Random().random()  # expect: FTX002
    s = Clock.now()  # expect: FTX001
    await tx.sleep(1)
    return f"{a}{b}{c}{d}{e}{f}{g}{h}{i}{j}{k}{m}{n}{o}{p}{q}{r}{s}"


@flowtx.workflow(name="named", version=2)
async def passed_on(tx: flowtx.Tx, names: list[str]) -> list[str]:
    dice.shuffle(names)  # expect: FTX002
    keyed = {name: fresh() for name in names}  # expect: FTX002
    stamps = list(map(lambda name: (name, clock.time()), names))  # expect: FTX001
    several = [(now(), name) for name in names if dice.random() < 0.5]  # expect: FTX001, FTX002
    ordered = sorted(names, key=lambda name: dice.random())  # expect: FTX002
    if (at := dt.now()) and at.hour:  # expect: FTX001
        await tx.sleep(1)
    await tx.step(print, "x", timeout_s=dice.uniform(1, 2))  # expect: FTX002
    await tx.sleep_until(dt.now(timezone.utc) + datetime.timedelta(days=1))  # expect: FTX001
    with tx.move_on_at(dt.now(timezone.utc)):  # expect: FTX001
        await tx.sleep(2)
    print(f"at {dt.now():%H:%M}", keyed, stamps, several)  # expect: FTX001
    return ordered
