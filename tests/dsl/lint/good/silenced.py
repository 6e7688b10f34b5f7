"""Findings that a person has looked at and silenced, with the reason."""

import os
import random
import time

import flowtx


@flowtx.workflow
async def looked_at(tx: flowtx.Tx, name: str) -> str:
    started = time.time()  # noqa: FTX001 - only printed
    several = (random.random(), os.environ["HOME"])  # noqa: FTX002, FTX003 - only printed
    other = time.time()  # noqa: E501,FTX001 - only printed
    small = time.time()  # noqa:FTX001 (only printed)
    print(started, several, other, small)
    return name
