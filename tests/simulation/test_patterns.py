"""Messages, tcc, xa and clients' workflows survive every single fault, with a client that asks again until it is heard.

The participants keep the books: all or nothing, never both ways, and nobody is called more often than faults explain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from flowtx.dtm.operations.abort import abort
from flowtx.dtm.operations.branches import register_branch
from flowtx.dtm.operations.desk import Desk, answered
from flowtx.dtm.operations.prepare import prepare
from flowtx.dtm.operations.submit import submit
from flowtx.dtm.operations.workflows import prepare_workflow
from flowtx.dtm.outcomes import DtmError, Outcome
from flowtx.dtm.wire.requests import BranchRequest, TransactionRequest
from flowtx.server import WORKFLOWS
from flowtx.settings import Settings
from flowtx.testing.faults import Fault, Schedule
from flowtx.testing.participants import Behaviour, Participants
from flowtx.testing.prove import MakeWorld, play, single_faults_everywhere
from flowtx.testing.world import World
from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.runtime.engine import Engine

GID = "t-1"
BRANCHES = ("01", "02", "03")
Operation = Callable[[], Awaitable[Outcome]]
Scripts = dict[str, list[Behaviour]]
Client = Callable[[Desk], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What a client does, how its participants behave, and how it may end."""

    client: Client
    ends: frozenset[str]
    scripts: Scripts = field(default_factory=dict[str, "list[Behaviour]"])
    is_committed: bool = True  # what the sender of a message says whenever it is asked


async def heard(operation: Operation) -> Outcome:
    """What the server says, once it could say anything: a client that asks again."""
    while True:
        outcome = await answered(operation())
        if not (isinstance(outcome, DtmError) and "repeat the request" in outcome.message):
            return outcome
        await trio.sleep(0.1)


def request(trans_type: str, **more: object) -> TransactionRequest:
    steps = tuple({"action": f"http://p/{branch_id}/action"} for branch_id in BRANCHES) if trans_type == "msg" else ()
    return TransactionRequest(
        gid=GID,
        trans_type=trans_type,
        steps=steps,
        payloads=(b"{}",) * len(steps),
        query_prepared="http://p/query",
        **more,  # type: ignore[arg-type]  # tests name fields rightly or fail at once
    )


async def register(desk: Desk, trans_type: str, branch_id: str) -> None:
    url = f"http://p/{branch_id}/"
    branch = BranchRequest(
        gid=GID,
        branch_id=branch_id,
        trans_type=trans_type,
        confirm=f"{url}confirm",
        cancel=f"{url}cancel",
        url=f"{url}xa",
        op="action",
        status="succeed",
    )
    await heard(lambda: register_branch(desk, branch))


async def begin(desk: Desk, trans_type: str, **more: object) -> None:
    await heard(lambda: prepare(desk, request(trans_type, **more)))
    if trans_type != "msg":
        for branch_id in BRANCHES:
            await register(desk, trans_type, branch_id)


def submits(trans_type: str, *, after_s: float = 0.0, **more: object) -> Client:
    async def client(desk: Desk) -> None:
        await begin(desk, trans_type)
        await trio.sleep(after_s)
        await heard(lambda: submit(desk, request(trans_type, **more)))

    return client


def aborts(trans_type: str) -> Client:
    async def client(desk: Desk) -> None:
        await begin(desk, trans_type)
        await heard(lambda: abort(desk, request(trans_type, rollback_reason="the try failed")))

    return client


def leaves(trans_type: str) -> Client:
    """Prepares and is not heard of again."""

    async def client(desk: Desk) -> None:
        await begin(desk, trans_type)

    return client


async def runs_a_workflow(desk: Desk) -> None:
    await heard(lambda: prepare_workflow(desk, request("workflow")))
    for branch_id in BRANCHES:
        await trio.sleep(4)
        await register(desk, "workflow", branch_id)
    await trio.sleep(15)
    await heard(lambda: submit(desk, request("workflow", req_extra={"status": "succeed", "result": "cg=="})))


async def submits_a_message_at_once(desk: Desk) -> None:
    await heard(lambda: submit(desk, request("msg", concurrent=True)))


SUCCEEDS, FAILS, EITHER = frozenset({"succeed"}), frozenset({"failed"}), frozenset({"succeed", "failed"})
STORIES: dict[str, Story] = {
    "tcc is submitted": Story(client=submits("tcc"), ends=SUCCEEDS, scripts={"/02/confirm": ["break", "refuse"]}),
    "tcc is aborted": Story(client=aborts("tcc"), ends=FAILS, scripts={"/02/cancel": ["ongoing", "accept silently"]}),
    "tcc is left alone": Story(client=leaves("tcc"), ends=FAILS),
    "tcc is submitted as time runs out": Story(client=submits("tcc", after_s=35.0), ends=EITHER),
    "xa is submitted": Story(client=submits("xa"), ends=SUCCEEDS, scripts={"/01/xa": ["ongoing"]}),
    "xa is aborted": Story(client=aborts("xa"), ends=FAILS, scripts={"/03/xa": ["break"]}),
    "msg is submitted": Story(client=submits("msg"), ends=SUCCEEDS, scripts={"/01/action": ["refuse"]}),
    "msg is submitted at once": Story(client=submits_a_message_at_once, ends=SUCCEEDS),
    "msg is delayed": Story(client=submits("msg", custom_data='{"delay":30}'), ends=SUCCEEDS),
    "msg is aborted": Story(client=aborts("msg"), ends=FAILS),
    "msg is left alone, and was committed": Story(client=leaves("msg"), ends=SUCCEEDS, scripts={"/query": ["break"]}),
    "msg is left alone, and was not": Story(client=leaves("msg"), ends=FAILS, is_committed=False),
    "msg is submitted while it is asked about": Story(
        client=submits("msg", after_s=40.0), ends=SUCCEEDS, scripts={"/query": ["break", "break"]}
    ),
    "a workflow runs in its client": Story(client=runs_a_workflow, ends=SUCCEEDS),
}

FORWARD, BACKWARD = {"action", "confirm", "commit"}, {"cancel", "rollback"}


def world_of(story: Story, *, node_count: int = 1) -> tuple[list[World], MakeWorld]:
    worlds: list[World] = []

    def make_world(schedule: Schedule) -> World:
        participants = Participants()
        for path, behaviours in story.scripts.items():
            participants.script(path, behaviours)
        if not story.is_committed:
            participants.script("/query", [], then="refuse")
        worlds.append(World(WORKFLOWS, schedule=schedule, participants=participants, node_count=node_count))
        return worlds[-1]

    return worlds, make_world


def scenario_of(story: Story) -> Callable[[Engine], Awaitable[None]]:
    async def scenario(engine: Engine) -> None:
        await story.client(Desk(engine=engine, settings=Settings()))
        while True:
            try:
                row = await engine.transaction(GID)
            except JournalUnavailable:
                row = None
            if row is not None and row.is_final:
                return
            await trio.sleep(1)

    return scenario


def check(world: World, story: Story) -> None:
    """All or nothing, one way only, and no call that no fault explains."""
    (row,) = world.transactions()
    assert row.status in story.ends, row
    asked = [each for each in world.participants.asked if each.branch_id in BRANCHES]
    ops = {each.op for each in asked}
    if row.pattern == "workflow":
        assert not asked, "only the callback goes out"
        return
    acted = {(each.branch_id, each.op) for each in world.participants.acted if each.branch_id in BRANCHES}
    if row.status == "succeed":
        assert ops <= FORWARD, ops
        assert {branch_id for branch_id, _ in acted} == set(BRANCHES)
    else:
        assert ops <= BACKWARD, ops
        assert {branch_id for branch_id, _ in acted} == (set() if row.pattern == "msg" else set(BRANCHES))
    fault_count = len(world.schedule.faults)
    scripted = Counter(path.split("/")[1] for path, behaviours in story.scripts.items() for _ in behaviours)
    for branch_id, count in Counter(each.branch_id for each in asked).items():
        # A stalled node and its successor may both call: that is what a lease that ran out means.
        assert count <= 1 + scripted[branch_id] + fault_count, (branch_id, count, world.participants.asked)


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_a_pattern_survives_every_single_fault(story: Story) -> None:
    _, make_world = world_of(story)
    proof = single_faults_everywhere(make_world, scenario_of(story), check=lambda world: check(world, story))
    assert proof.crash_count > 0


@given(
    story=st.sampled_from(list(STORIES.values())),
    schedule=st.dictionaries(st.integers(0, 30), st.sampled_from(Fault), max_size=4).map(Schedule),
    node_count=st.integers(1, 2),
    interleaving=st.random_module(),
)
def test_a_pattern_survives_several_faults_and_another_node(
    story: Story, schedule: Schedule, node_count: int, interleaving: object
) -> None:
    worlds, make_world = world_of(story, node_count=node_count)
    play(make_world, scenario_of(story), schedule)
    check(worlds[-1], story)
