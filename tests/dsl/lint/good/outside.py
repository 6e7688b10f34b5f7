"""Signals, updates, messages, children, savepoints and restarts as they are meant."""

from dataclasses import dataclass

import flowtx


@dataclass
class Payment:
    cents: int


def reserve(item: str) -> str:
    return item


def release(item: str) -> None: ...


def announce(item: str) -> None: ...


@flowtx.workflow
async def part(tx: flowtx.Tx, item: str) -> str:
    tx.compensate(release, item)
    return await tx.step(reserve, item)


@flowtx.workflow
async def order(tx: flowtx.Tx, items: list[str], round: int) -> int:
    paid: list[int] = []
    tx.expose("paid", lambda: sum(paid))
    tx.guard("address", str, type=str)
    tx.message(announce, "begun")
    await tx.message(announce, "awaited")
    for item in items:
        await tx.child(part, item)
    await tx.detach(part, "spare", gid=f"{tx.gid}-spare")
    try:
        async with tx.savepoint():
            await tx.tcc(reserve, announce, release, "card")
            with tx.fail_after(60):
                paid.append((await tx.signal("paid", type=Payment)).cents)
    except flowtx.TooSlowError:
        raise flowtx.Abort("not paid in time") from None
    update = await tx.update("address", type=str)
    update.answer(len(update.value))
    if tx.changed("rounds") and round < 3:
        tx.restart(items, round + 1)
    return sum(paid)
