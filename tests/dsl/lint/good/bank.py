"""Steps that do what a workflow must not, and a workflow that asks for them."""

import os
import random
import sqlite3
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import flowtx
import httpx
import trio

BALANCES: dict[str, int] = {}
LOCK = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    payer: str
    payee: str
    cents: int
    tags: frozenset[str] = frozenset()


async def withdraw(t: Transfer) -> str:
    await trio.sleep(random.random())
    async with httpx.AsyncClient() as client:
        await client.post(f"{os.environ['BANK']}/withdraw", json={"cents": t.cents})
    with LOCK:
        BALANCES[t.payer] = BALANCES.get(t.payer, 0) - t.cents
    return f"{uuid.uuid4()} {datetime.now()} {time.time()}"


def withdraw_back(t: Transfer, *, result: object) -> None:
    with sqlite3.connect("bank.db") as db:
        db.execute("DELETE FROM receipt WHERE id = ?", (result,))
    for path in Path("receipts").iterdir():
        path.unlink()


def deposit(t: Transfer) -> None:
    global TOTAL
    TOTAL = t.cents
    subprocess.run(["true"], check=True)
    for tag in t.tags:
        print(tag, hash(tag), id(tag))


def deposit_back(t: Transfer) -> None:
    try:
        time.sleep(1)
    except BaseException:
        print("nothing to do")


TOTAL = 0


@flowtx.workflow
async def transfer(tx: flowtx.Tx, t: Transfer) -> str:
    receipt = await tx.step(withdraw, t, compensate=withdraw_back)
    await tx.step(deposit, t, compensate=deposit_back, timeout_s=3.0, retry=flowtx.Retry(attempts_max=3))
    print(f"{t.payer} paid {t.payee}")
    return receipt


async def main() -> None:
    async with flowtx.open("sqlite:///bank.db", workflows=[transfer]) as engine:
        await engine.run(transfer, Transfer(payer="a", payee="b", cents=3), gid=str(uuid.uuid4()))
        await trio.sleep(1)


if __name__ == "__main__":
    trio.run(main)
