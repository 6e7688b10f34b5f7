"""Inputs and results that cannot be read back."""

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, TextIO

from flowtx import Tx, workflow


class Account:
    def __init__(self, name: str) -> None:
        self.name = name


@workflow
async def bare(tx: Tx, name, *rest):  # expect: FTX040, FTX040, FTX040
    await tx.step(pay, name, compensate=pay_back)
    await tx.step(look, name)


def pay(name):  # expect: FTX041, FTX041
    return name


def pay_back(name: str, *, result) -> None:
    print(name, result)


@workflow
async def odd(
    tx: Tx,
    callback: Callable[[int], int],  # expect: FTX042
    folder: Path | None,  # expect: FTX042
    locks: list[threading.Lock],  # expect: FTX042
    account: "Account",  # expect: FTX042
    pattern: Annotated[re.Pattern[str], "never"],  # expect: FTX042
) -> dict[str, TextIO]:  # expect: FTX042
    raise NotImplementedError


def look(name: str, books: sqlite3.Connection) -> Iterator[str]:  # expect: FTX042, FTX042
    yield name


@workflow
async def shared(tx: Tx, names: list[str] = [], more: dict[str, int] = dict()) -> None:  # expect: FTX043, FTX043
    await tx.step(share, 1)
    await tx.step(spread)
    await tx.step(only)


def share(number: int, seen: set[int] = {1}) -> None:  # expect: FTX043
    print(number, seen)


def spread(**details: int) -> None:  # expect: FTX044
    print(details)


def only(*, cents: int) -> None:  # expect: FTX044
    print(cents)


@workflow
async def keywords(tx: Tx, *, cents: int) -> None:  # expect: FTX044
    print(cents)
