"""Messages to queues survive every single fault: taken once if their transaction succeeds, not at all if it fails."""

from __future__ import annotations

import pytest
import trio

import flowtx
from flowtx.testing.faults import Schedule
from flowtx.testing.participants import Behaviour, Participants
from flowtx.testing.prove import single_faults_everywhere
from flowtx.testing.world import World
from flowtx_engine.runtime.engine import Engine

ORDERS = "redis://shop/0/orders"
BOOKINGS = "redis://shop/0/bookings"


@flowtx.workflow
async def order(tx: flowtx.Tx) -> None:
    tx.message(flowtx.queue(ORDERS), {"order": tx.gid})
    await tx.step(flowtx.queue(BOOKINGS), "book", compensate=flowtx.queue(BOOKINGS))
    await tx.step(flowtx.http("http://bank/pay"), 30)


SCRIPTS: dict[str, dict[str, list[Behaviour]]] = {
    "all accept": {},
    "the bank refuses": {"/pay": ["refuse"]},
    "the broker breaks and loses an answer": {"/0/orders": ["break", "accept silently"], "/0/bookings": ["break"]},
}


async def run(engine: Engine) -> None:
    while True:
        try:
            await engine.run(order, gid="o-1")
        except flowtx.TransactionFailed:
            return
        except flowtx.JournalUnavailable:
            await trio.sleep(0.1)
            continue
        return


def check(world: World) -> None:
    (row,) = world.transactions()
    acted = [(each.url, each.op) for each in world.participants.acted if each.url.startswith("redis:")]
    if row.status == "succeed":
        assert acted == [(BOOKINGS, "action"), (ORDERS, "action")]
    else:
        assert row.status == "failed"
        assert acted == [(BOOKINGS, "action"), (BOOKINGS, "compensate")] or acted == []
    ids = {each.message_id: each.body for each in world.participants.messages}
    assert set(ids) <= {"o-1/0", "o-1/1", "o-1/1/c", "o-1/0/m"}
    world.check_replay()


@pytest.mark.parametrize("script", list(SCRIPTS))
def test_messages_survive_every_fault(script: str) -> None:
    def make(schedule: Schedule) -> World:
        participants = Participants()
        for path, behaviours in SCRIPTS[script].items():
            participants.script(path, behaviours)
        return World([order], schedule=schedule, participants=participants)

    single_faults_everywhere(make, run, check=check)
