"""SQL transactions are called tx, too; they are nobody's workflow, and neither is anything else here."""

import os
import random
import time
from pathlib import Path


class Connection:
    def begin(self) -> "Connection":
        return self

    async def step(self, what: object) -> None:
        print(what)


def insert(tx, name):
    tx.execute("INSERT INTO account VALUES (?, ?)", (name, time.time()))
    for number in {1, 2, 3}:
        tx.execute("SELECT ?", (number,))


async def asynchronous(tx: Connection, name: str) -> None:
    tx.step(name)
    await tx.begin().step(random.random())
    try:
        await tx.step(lambda: os.environ)
    except BaseException:
        print(Path.cwd())


def workflow(function):
    """Somebody else's word of the same name."""
    return function


@workflow
async def not_ours(tx, name=[]):
    time.sleep(1)
