"""Faults a stranger planted: callbacks, fields that fill themselves, objects of the module, orders by length."""

import contextlib
import functools
import itertools
import logging
import os
import random
import socket
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import date, datetime
from time import *

import numpy as np
import pandas as pd

import flowtx as fx
from flowtx import Tx, workflow

LOCK = threading.Lock()
session = __import__("requests").Session()
COUNTER = itertools.count()
RNG = random.Random()
GEN = np.random.default_rng()


def charge(c: int) -> int:
    return c


def refund(c: int) -> int:
    return c


@dataclass
class Order:
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    at: datetime = field(default_factory=datetime.now)


@functools.cache
def cached() -> float:
    return time.time()  # expect: FTX001


@fx.workflow
async def w(tx: fx.Tx, names: set[str], prices: dict[str, int]) -> str:
    o = Order()  # expect: FTX002, FTX001
    cached()
    a = sorted(names, key=hash)  # expect: FTX009
    for n in iter(time.time, 0):  # expect: FTX001
        pass
    while not os.path.exists("/x"):  # expect: FTX004
        await tx.sleep(1)
    with LOCK:  # expect: FTX005
        pass
    LOCK.acquire()  # expect: FTX005
    b = np.random.rand()  # expect: FTX002
    c = pd.Timestamp.now()  # expect: FTX001
    d = sys.argv[1]  # expect: FTX003
    e = socket.gethostname()  # expect: FTX003
    f = RNG.random()  # expect: FTX002
    g = GEN.normal()  # expect: FTX002
    next(COUNTER)  # expect: FTX030
    random.seed(1)  # expect: FTX002
    h = hash(o)  # expect: FTX009
    i = id(o)  # expect: FTX009
    j = list(names)[0]  # expect: FTX007
    k = dict.fromkeys(names)  # expect: FTX007
    l = sorted(names, key=len)  # expect: FTX007
    m = max(names, key=len)  # expect: FTX007
    p = [*names]  # expect: FTX007
    q = tx.random.choice(list(names))  # expect: FTX007
    s = strftime("%Y")  # expect: FTX001
    async with contextlib.AsyncExitStack() as stack:
        pass
    t = await tx.step(charge, random.randint(1, 3))  # expect: FTX002
    t = await tx.step(functools.partial(charge, int(time.time())))  # expect: FTX001
    async with tx.open_nursery() as nursery:
        nursery.start_soon(tx.step, charge, 3)
        nursery.start_soon(lambda: tx.step(charge, 3))
    for name, price in set(prices.items()):  # expect: FTX007
        await tx.step(charge, price)
    for name in names:  # expect: FTX007
        nursery.start_step(charge, 1)
    if uuid.uuid4().int % 2:  # expect: FTX002
        pass
    u = date.today().isoformat()  # expect: FTX001
    os.environ["X"] = "y"  # expect: FTX003, FTX030
    logging.info("x", extra={"at": datetime.now()})  # expect: FTX001
    assert time.time() > 3  # expect: FTX001
    try:
        await tx.step(charge, 1)
    except Exception:
        time.sleep(1)  # expect: FTX006
    else:
        open("x")  # expect: FTX004
    y = os.getenv("A") or os.getcwd()  # expect: FTX003, FTX003
    z = f"{os.getpid()}"  # expect: FTX003
    return z
