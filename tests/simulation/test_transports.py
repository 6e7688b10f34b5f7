"""DTM's saga over gRPC, JSON-RPC and HTTP at once survives every single fault, whatever its participants answer."""

from __future__ import annotations

import pytest
import trio

import flowtx
from flowtx.testing.faults import Schedule
from flowtx.testing.participants import Behaviour, Participants
from flowtx.testing.prove import single_faults_everywhere
from flowtx.testing.world import World
from flowtx_dsl.patterns.saga import SagaOrder, SagaStep, saga
from flowtx_engine.runtime.engine import Engine

URLS = (
    ("bank:50051/bank.Bank/Do", "bank:50051/bank.Bank/Back"),
    ("http://shop/do?method=do", "http://shop/back?method=back"),
    ("http://post/do", "http://post/back"),
)
STEPS = tuple(
    SagaStep(branch_id=f"{i + 1:02d}", action=action, compensate=back, payload=b'{"amount":30}')
    for i, (action, back) in enumerate(URLS)
)
Scripts = dict[str, list[Behaviour]]

SCRIPTS: dict[str, Scripts] = {
    "all accept": {},
    "the last refuses": {"/do": ["accept", "refuse"]},
    "gRPC refuses": {"/bank.Bank/Do": ["refuse"]},
    "gRPC is not finished, breaks and loses an answer": {"/bank.Bank/Do": ["ongoing", "break", "accept silently"]},
    "JSON-RPC refuses and gRPC is hard to take back": {
        "/do": ["refuse"],
        "/bank.Bank/Back": ["break", "refuse", "hang"],
    },
}


async def submit(engine: Engine, protocol: str) -> None:
    """A client that asks again until the saga has ended."""
    order = SagaOrder(steps=STEPS, protocol=protocol, request_timeout_s=3.0, retry_interval_s=10.0)
    while True:
        try:
            await engine.run(saga, order, gid="s-1")
        except flowtx.TransactionFailed:
            return
        except flowtx.JournalUnavailable:
            await trio.sleep(0.1)
            continue
        return


def check(world: World) -> None:
    """All or nothing, newest first."""
    (row,) = world.transactions()
    assert row.is_final
    acted = world.participants.acted_ops("s-1")
    actions = [each.split()[0] for each in acted if each.endswith("action")]
    compensations = [each.split()[0] for each in acted if each.endswith("compensate")]
    if row.status == "succeed":
        assert (actions, compensations) == (["01", "02", "03"], [])
    else:
        assert compensations == sorted(actions, reverse=True), acted


@pytest.mark.parametrize("scripts", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_saga_over_every_transport_survives_every_single_fault(scripts: Scripts) -> None:
    def make_world(schedule: Schedule) -> World:
        participants = Participants()
        for path, behaviours in scripts.items():
            participants.script(path, behaviours)
        return World([saga], schedule=schedule, participants=participants)

    async def scenario(engine: Engine) -> None:
        await submit(engine, "json-rpc")

    proof = single_faults_everywhere(make_world, scenario, check=check)
    assert proof.crash_count > 0


async def test_each_participant_is_told_the_same_by_whatever_transport(autojump_clock: trio.testing.MockClock) -> None:
    world = World([saga])
    await world.play(lambda engine: submit(engine, "json-rpc"))
    assert [(asked.url, asked.gid, asked.branch_id, asked.op) for asked in world.participants.asked] == [
        ("bank:50051/bank.Bank/Do", "s-1", "01", "action"),
        ("http://shop/do", "s-1", "02", "action"),
        ("http://post/do", "s-1", "03", "action"),
    ]
    assert [b'"jsonrpc"' in asked.body for asked in world.participants.asked] == [False, True, False]
