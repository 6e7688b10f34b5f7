"""What a client was told is what happens: any calls about one transaction, of two clients at once, on two nodes.

The law: once a submission was acknowledged, everything registered before it is done and nothing taken back; once an
abort was acknowledged, the other way round; and nobody is ever called for both.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from flowtx.dtm.operations.abort import abort
from flowtx.dtm.operations.branches import register_branch
from flowtx.dtm.operations.desk import Desk, answered
from flowtx.dtm.operations.prepare import prepare
from flowtx.dtm.operations.stop import force_stop
from flowtx.dtm.operations.submit import submit
from flowtx.dtm.outcomes import Done, DtmError
from flowtx.dtm.wire.requests import BranchRequest, TransactionRequest
from flowtx.server import WORKFLOWS
from flowtx.settings import Settings
from flowtx.testing.participants import Participants
from flowtx.testing.world import World
from flowtx_engine.calls.performer import Calls
from flowtx_engine.journal.journal import Journal
from flowtx_engine.runtime.clock import TrioClock
from flowtx_engine.runtime.engine import Engine
from flowtx_engine.runtime.limits import EngineLimits

T = TypeVar("T")

FORWARD, BACKWARD = {"action", "confirm", "commit"}, {"cancel", "rollback"}
GID = "g"

calls = st.one_of(
    st.sampled_from(["prepare", "submit", "abort"]),
    st.sampled_from(["register 01", "register 02", "register 03", "wait 1", "wait 20", "stop"]),
)
scripts = st.lists(calls, min_size=1, max_size=7)


class Told:
    """What clients were told: the calls that were acknowledged, in the order of the answers."""

    def __init__(self) -> None:
        self.done: list[str] = []


async def ask(desk: Desk, pattern: str, script: Sequence[str], told: Told) -> None:
    """One client."""
    steps = ({"action": "http://p/01"},) if pattern == "msg" else ()
    request = TransactionRequest(
        gid=GID, trans_type=pattern, steps=steps, payloads=(b"{}",) * len(steps), query_prepared="http://p/query"
    )
    for call in script:
        word, _, detail = call.partition(" ")
        match word:
            case "prepare":
                outcome = await answered(prepare(desk, request))
            case "submit":
                outcome = await answered(submit(desk, request))
            case "abort":
                outcome = await answered(abort(desk, request))
            case "stop":
                outcome = await answered(force_stop(desk, GID))
            case "register":
                url = f"http://p/{detail}"
                branch = BranchRequest(gid=GID, branch_id=detail, trans_type=pattern, confirm=url, cancel=url, url=url)
                outcome = await answered(register_branch(desk, branch))
            case _:
                await trio.sleep(float(detail))
                continue
        assert not (isinstance(outcome, DtmError) and "internal error" in outcome.message), (call, outcome)
        if outcome == Done():
            told.done.append(call)


async def no_threads(fn: Callable[[], T]) -> T:
    raise AssertionError(fn)


def play(pattern: str, scripts: Sequence[Sequence[str]], *, node_count: int) -> tuple[World, Told]:
    """Clients that speak to nodes of one database in turn, until every timeout has passed."""
    told = Told()
    world = World(WORKFLOWS, participants=Participants(delay_s=0.5))

    async def main() -> None:
        calls = Calls(world.participants, grpc=world.participants, queues=world.participants, run_sync=no_threads)
        engines = [
            Engine(
                Journal(world.store),
                calls,
                workflows=WORKFLOWS,
                limits=EngineLimits(heartbeat_s=10.0, poll_s=10.0),
                clock=TrioClock(),
                dice=random.Random(number),
            )
            for number in range(node_count)
        ]
        async with trio.open_nursery() as nursery:
            for engine in engines:
                await nursery.start(engine.serve)
            async with trio.open_nursery() as clients:
                for engine, script in zip(itertools.cycle(engines), scripts, strict=False):
                    clients.start_soon(ask, Desk(engine=engine, settings=Settings()), pattern, script, told)
            await trio.sleep(100)
            for engine in engines:
                await engine.shut_down()
            nursery.cancel_scope.cancel()
        world.check_replay()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return world, told


@given(
    pattern=st.sampled_from(["tcc", "xa", "msg"]),
    first=scripts,
    second=st.just([]) | scripts,
    node_count=st.integers(1, 2),
    interleaving=st.random_module(),
)
def test_what_a_client_was_told_is_what_happens(
    pattern: str, first: list[str], second: list[str], node_count: int, interleaving: object
) -> None:
    world, told = play(pattern, [first, second], node_count=node_count)
    rows = world.transactions()
    if not rows:
        assert not set(told.done) & {"prepare", "submit"}
        return
    (row,) = rows
    assert row.is_final, "every one of them comes to its end by itself"
    asked = [each for each in world.participants.asked if each.branch_id != "00"]
    ops = {each.op for each in asked}
    assert ops <= FORWARD or ops <= BACKWARD, ops
    assert all(count == 1 for count in Counter((each.branch_id, each.op) for each in asked).values()), asked
    if "stop" in told.done:
        return
    if "submit" in told.done:
        assert row.status == "succeed", (row, told.done)
    if "abort" in told.done:
        assert row.status == "failed", (row, told.done)
    registered = {call.partition(" ")[2] for call in told.done if call.startswith("register")}
    if pattern == "msg":
        registered = {"01"} if row.status == "succeed" else set[str]()
    called = {each.branch_id for each in asked}
    assert called == registered, (row, called, told.done)
    assert not called or ops <= (FORWARD if row.status == "succeed" else BACKWARD)
