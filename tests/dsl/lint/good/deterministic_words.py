"""Time, dice and ids by the words of tx, under every kind of import."""

import random
import time
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

import flowtx as f
from flowtx import Tx as Transaction
from flowtx import workflow as flow

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def note(text: str, at: datetime) -> None:
    print(text, at)


@flow(name="reminder", version="2")
async def remind(tx: Transaction, text: str, at: datetime) -> UUID:
    begun = tx.now()
    deadline = begun + DAY
    while tx.now() < min(at, deadline):
        await tx.sleep(3600)
    await tx.sleep_until(at + timedelta(seconds=tx.random.randint(1, 60)))
    await tx.step(note, text, tx.now())
    seeded = random.Random(42).random()
    readable = time.strftime("%Y", time.gmtime(tx.now().timestamp()))
    key = uuid5(NAMESPACE_URL, f"{tx.gid}{seeded}{readable}")
    return key if tx.random.random() < 0.5 else tx.uuid4()


@f.workflow
async def shadowed(tx: f.Tx, time: float, random: list[int], open: bool) -> int:
    random.append(1)
    datetime = str(time)
    return random.count(1) + len(datetime) + int(open)
