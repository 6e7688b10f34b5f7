"""Helpers that workflows of another file call, and some that they do not."""

import random
import time
from functools import lru_cache
from typing import Callable

from flowtx import Tx


def stamp() -> float:
    return time.time()  # expect: FTX001


def nonce() -> int:
    return inner()


def inner() -> int:
    return random.getrandbits(8)  # expect: FTX002


def not_used() -> float:
    return time.time()


@lru_cache
def cached() -> float:
    return time.time()  # expect: FTX001


async def untyped(tx, name):
    time.sleep(1)  # expect: FTX006
    await tx.sleep(1)


async def in_branch(tx, nursery):
    nursery.start_soon(untyped, tx, str(time.time()))  # expect: FTX001


def pure(x: int) -> int:
    return x + 1


def report() -> float:
    """Only by the command line."""
    return time.time()
