"""Clocks that are read in workflows, by all the names they can have."""

import datetime as dt
import time
from datetime import date, datetime
from time import perf_counter as ticks
from time import sleep as nap

import flowtx

read_clock = time.time


@flowtx.workflow
async def invoice(tx: flowtx.Tx, amount: int, begun: float = time.time()) -> str:  # expect: FTX001
    started = time.time()  # expect: FTX001
    day = datetime.now()  # expect: FTX001
    zoned = dt.datetime.now(dt.UTC)  # expect: FTX001
    today = date.today()  # expect: FTX001
    local = time.localtime()  # expect: FTX001
    stamp = time.strftime("%Y")  # expect: FTX001
    took = ticks() - started  # expect: FTX001
    again = read_clock()  # expect: FTX001
    nap(1)  # expect: FTX006
    time.sleep(0.5)  # expect: FTX006
    if datetime.utcnow().hour > 12 and time.monotonic() > 3:  # expect: FTX001, FTX001
        return "late"
    return f"{started} {day} {zoned} {today} {local} {stamp} {took} {again} {amount}"
