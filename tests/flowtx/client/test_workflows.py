"""DTM's workflow mode against a server that answers as DTM does: interrupted anywhere, it goes on where it was."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio

from flowtx.client.async_client import AsyncDtmClient
from flowtx.client.async_workflows import AsyncWorkflow, AsyncWorkflows
from flowtx.client.barrier import Barrier
from flowtx.client.errors import BranchFault, ServerRefused
from flowtx.client.options import Options
from flowtx.client.participants import BranchRequest, Participant
from flowtx.client.sync_client import DtmClient
from flowtx.client.workflows import Workflow, Workflows
from flowtx_dsl.errors import NoSuchWorkflow, Ongoing, PayloadError, Refused, WorkflowError
from tests.flowtx.client.conftest import Runner
from tests.flowtx.client.genuine import GenuineDtm, Said, call

HOPS = Options(branch_headers={"x-tenant": "7"}, request_timeout_s=9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    cents: int
    fails: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    number: int
    cents: int


class Crash(BaseException):
    """The process ends here."""


@dataclass
class World:
    """A service with a workflow: what its functions did, and where they break."""

    server: GenuineDtm
    runner: Runner
    done: list[str] = field(default_factory=list[str])
    breaks: dict[str, BaseException] = field(default_factory=dict[str, BaseException])

    def note(self, what: str) -> None:
        error = self.breaks.pop(what, None)
        if error is not None:
            raise error
        self.done.append(what)

    # -- the branches, plain

    def out(self, barrier: Barrier) -> Receipt:
        self.note(f"out {barrier.branch_id} {barrier.op} {barrier.trans_type}")
        return Receipt(number=7, cents=30)

    def end(self, barrier: Barrier) -> None:
        self.note(f"{barrier.op} {barrier.branch_id}")

    def check(self, barrier: Barrier) -> None:
        self.note("check")

    # -- and async

    async def out_async(self, barrier: Barrier) -> Receipt:
        return self.out(barrier)

    async def end_async(self, barrier: Barrier) -> None:
        self.end(barrier)

    async def check_async(self, barrier: Barrier) -> None:
        self.check(barrier)

    def transfer(self, workflow: Workflow, transfer: Transfer) -> Receipt:
        receipt = workflow.do(self.out, on_rollback=self.end, on_commit=self.end)
        url = f"{self.server.url}/in"
        answer = workflow.call(url, payload=receipt, on_rollback=f"{url}-back", on_commit=self.end)
        workflow.do(self.check)
        return Receipt(number=receipt.number + answer.read(int), cents=transfer.cents)

    async def transfer_async(self, workflow: AsyncWorkflow, transfer: Transfer) -> Receipt:
        receipt = await workflow.do(self.out_async, on_rollback=self.end_async, on_commit=self.end_async)
        url = f"{self.server.url}/in"
        answer = await workflow.call(url, payload=receipt, on_rollback=f"{url}-back", on_commit=self.end_async)
        await workflow.do(self.check_async)
        return Receipt(number=receipt.number + answer.read(int), cents=transfer.cents)

    def execute(self, cents: int = 30) -> Receipt:
        receipt: Receipt = self._run(
            lambda workflows: workflows.execute(self.transfer, Transfer(cents=cents), gid="w-1", options=HOPS),
            lambda workflows: workflows.execute(self.transfer_async, Transfer(cents=cents), gid="w-1", options=HOPS),
        )
        return receipt

    def resume(self, request: BranchRequest) -> None:
        self._run(lambda workflows: workflows.resume(request), lambda workflows: workflows.resume(request))

    def _run(self, plain: Callable[[Workflows], Any], asynchronous: Callable[[AsyncWorkflows], Any]) -> Any:
        callback = f"{self.server.url}/resume"
        if self.runner == "threads":
            workflows = Workflows(DtmClient(self.server.url), callback)
            workflows.register(self.transfer, name="transfer")
            return plain(workflows)

        async def main() -> Any:
            async with AsyncDtmClient(self.server.url) as dtm:
                workflows = AsyncWorkflows(dtm, callback)
                workflows.register(self.transfer_async, name="transfer")
                return await asynchronous(workflows)

        return trio.run(main) if self.runner == "trio" else asyncio.run(main())


@pytest.fixture
def world(dtm_server: GenuineDtm, runner: Runner) -> World:
    return make_world(dtm_server, runner)


@pytest.fixture
def plain_world(dtm_server: GenuineDtm) -> World:
    """In threads only, for what is tried in many places."""
    return make_world(dtm_server, "threads")


def make_world(dtm_server: GenuineDtm, runner: Runner) -> World:
    """A service; ``/in`` and ``/in-back`` are somebody else's, ``/resume`` is its own callback."""
    world = World(server=dtm_server, runner=runner)

    def participant(path: str) -> Callable[[dict[str, str], bytes], Said]:
        def handle(call: BranchRequest) -> int:
            world.note(f"{path} {call.query['branch_id']} {call.query['op']}")
            return 100

        endpoint = Participant(handle)

        def answer(query: dict[str, str], body: bytes) -> Said:
            reply = endpoint.call(BranchRequest(query=query, body=body), {})
            return reply.status, reply.body

        return answer

    def resume(query: dict[str, str], body: bytes) -> Said:
        reply = Participant(world_resume).call(BranchRequest(query=query, body=body), {})
        return reply.status, reply.body

    def world_resume(request: BranchRequest) -> None:
        world.resume(request)

    dtm_server.participants |= {path: participant(path) for path in ("/in", "/in-back")}
    dtm_server.participants["/resume"] = resume
    return world


FORWARD = ["out 01 action workflow", "/in 02 action", "check"]
COMMITS = ["commit 02", "commit 01"]
ROLLBACKS = ["/in-back 02 rollback", "rollback 01"]


def call_back(world: World) -> Said:
    """As the server does when a workflow is not finished (spec 3.6)."""
    fields = world.server.transactions["w-1"].fields
    custom = json.loads(fields["custom_data"])
    query = {"branch_id": "00", "gid": "w-1", "op": custom["name"], "trans_type": "workflow"}
    return call(fields["query_prepared"], query, base64.b64decode(custom["data"]))


def test_a_workflow_runs_its_branches_commits_and_hands_in_its_result(world: World) -> None:
    assert world.execute() == Receipt(number=107, cents=30)
    assert world.done == FORWARD + COMMITS
    trans = world.server.transactions["w-1"]
    assert trans.status == "succeed"
    assert base64.b64decode(trans.result) == b'{"number":107,"cents":30}'
    assert trans.fields == {
        "gid": "w-1",
        "trans_type": "workflow",
        "protocol": "http",
        "query_prepared": f"{world.server.url}/resume",
        "custom_data": '{"name":"transfer","data":"eyJjZW50cyI6MzAsImZhaWxzIjoiIn0="}',
        "request_timeout": 9,
        "branch_headers": {"x-tenant": "7"},
    }
    rows = [(row.branch_id, row.op, row.status, row.data) for row in trans.rows]
    assert rows == [
        ("01", "action", "succeed", b'{"number":7,"cents":30}'),
        ("02", "action", "succeed", b"100"),
        ("03", "action", "succeed", b"null"),
        ("02", "commit", "succeed", b""),
        ("01", "commit", "succeed", b""),
    ]
    registered = [asked.json for asked in world.server.asked if asked.path.endswith("registerBranch")]
    assert all(each["sync"] for each in registered)  # or DTM may lose what it acknowledged
    submit = next(asked.json for asked in world.server.asked if asked.path.endswith("submit"))
    assert set(submit) == {"gid", "trans_type", "req_extra"}


def test_a_finished_workflow_is_not_run_again(world: World) -> None:
    assert world.execute() == world.execute(cents=99) == Receipt(number=107, cents=30)
    assert world.done == FORWARD + COMMITS
    assert call_back(world)[0] == 200
    assert world.done == FORWARD + COMMITS


def test_a_refusal_rolls_back_what_was_done_the_last_first(world: World) -> None:
    world.breaks["check"] = Refused("no licence")
    with pytest.raises(Refused, match="no licence"):
        world.execute()
    assert world.done == [*FORWARD[:2], *ROLLBACKS]
    trans = world.server.transactions["w-1"]
    assert (trans.status, trans.reason) == ("failed", "no licence")
    with pytest.raises(Refused, match="no licence"):
        world.execute()
    assert call_back(world)[0] == 409
    assert world.done == [*FORWARD[:2], *ROLLBACKS]


def test_a_refused_branch_is_not_rolled_back_itself(world: World) -> None:
    world.breaks["/in 02 action"] = Refused("no such account")
    with pytest.raises(Refused, match=r"action of branch 02 of w-1 at .*/in was refused: no such account"):
        world.execute()
    assert world.done == [FORWARD[0], "rollback 01"]


@pytest.mark.parametrize("where", [*FORWARD, *COMMITS])
@pytest.mark.parametrize("error", [ValueError("broken"), Ongoing("not yet"), Crash()])
def test_wherever_it_is_interrupted_it_goes_on_there(plain_world: World, where: str, error: BaseException) -> None:
    is_remote = where.startswith("/")
    if is_remote and isinstance(error, Crash):
        error = ValueError("the other service crashed")
    plain_world.breaks[where] = error
    with pytest.raises(BranchFault if is_remote and not isinstance(error, Ongoing) else type(error)):
        plain_world.execute()
    assert plain_world.server.transactions["w-1"].status == "prepared"
    assert call_back(plain_world) == (200, b'{"dtm_result":"SUCCESS"}')
    assert plain_world.done == FORWARD + COMMITS
    assert plain_world.execute() == Receipt(number=107, cents=30)


@pytest.mark.parametrize("where", ROLLBACKS)
def test_an_interrupted_rollback_goes_on_there(world: World, where: str) -> None:
    world.breaks |= {"check": Refused("no licence"), where: ValueError("broken")}
    with pytest.raises(BranchFault if where.startswith("/") else ValueError):
        world.execute()
    assert world.server.transactions["w-1"].status == "prepared"
    assert call_back(world)[0] == 409  # rolled back
    assert world.done == [*FORWARD[:2], *ROLLBACKS]
    assert world.server.transactions["w-1"].status == "failed"


@pytest.mark.parametrize("number", range(1, 8))
def test_each_lost_word_to_the_server_is_said_again(dtm_server: GenuineDtm, plain_world: World, number: int) -> None:
    """The first ``number`` requests get through; what was done and not recorded is done again, and nothing else."""
    answer = dtm_server.answer
    count = 0

    def cut(asked: Any) -> Said | None:
        nonlocal count
        if asked.path.startswith("/api/"):
            count += 1
            if count > number:
                return None
        return answer(asked)

    dtm_server.answer = cut  # type: ignore[method-assign]  # the wire is cut
    if number < 7:
        with pytest.raises(Exception, match="had no whole answer"):
            plain_world.execute()
    else:
        plain_world.execute()
    dtm_server.answer = answer  # type: ignore[method-assign]  # and mended
    assert plain_world.execute() == Receipt(number=107, cents=30)
    steps = FORWARD + COMMITS
    repeated = [steps[number - 1]] if number <= len(steps) else []
    assert sorted(plain_world.done) == sorted(steps + repeated)


def test_branch_headers_are_known_to_who_resumes(world: World) -> None:
    world.breaks["out 01 action workflow"] = ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        world.execute()
    call_back(world)
    [called] = [asked for asked in world.server.asked if asked.path == "/in"]
    assert {name.lower(): value for name, value in called.headers.items()}["x-tenant"] == "7"
    assert called.query == {
        "branch_id": "02",
        "dtm": f"{world.server.url}/api/dtmsvr",
        "gid": "w-1",
        "op": "action",
        "trans_type": "workflow",
    }


def test_a_second_execution_at_the_same_time_ends_the_first(dtm_server: GenuineDtm) -> None:
    calls: list[str] = []

    def act(barrier: Barrier) -> None:
        calls.append(barrier.branch_id)
        if len(calls) == 1:  # the server calls back while the first is still at work (spec 12.12)
            workflows.execute(trip, None, gid="w-1")

    def trip(workflow: Workflow, data: None) -> None:
        workflow.do(act)

    workflows = plain(dtm_server)
    workflows.register(trip)
    with pytest.raises(ServerRefused, match="no trans with gid: w-1 status: prepared found"):
        workflows.execute(trip, None, gid="w-1")
    assert dtm_server.transactions["w-1"].status == "succeed"
    assert dtm_server.paths().count("submit") == 1


def plain(server: GenuineDtm) -> Workflows:
    return Workflows(DtmClient(server.url), f"{server.url}/resume")


def test_a_swallowed_fault_ends_the_workflow_all_the_same(dtm_server: GenuineDtm) -> None:
    def broken(barrier: Barrier) -> None:
        raise ValueError("broken")

    def fine(barrier: Barrier) -> None: ...

    def swallow(workflow: Workflow, goes_on: bool) -> None:
        try:
            workflow.do(broken)
        except ValueError:
            if goes_on:
                workflow.do(fine)

    workflows = plain(dtm_server)
    workflows.register(swallow)
    with pytest.raises(ValueError, match="broken"):
        workflows.execute(swallow, False, gid="w-1")
    with pytest.raises(WorkflowError, match="goes on after a branch of unknown outcome"):
        workflows.execute(swallow, True, gid="w-2")
    assert {each.status for each in dtm_server.transactions.values()} == {"prepared"}


def test_a_caught_refusal_takes_another_way(dtm_server: GenuineDtm) -> None:
    def refuse(barrier: Barrier) -> str:
        raise Refused("sold out")

    def other(barrier: Barrier) -> str:
        return "other"

    def order(workflow: Workflow, data: int) -> str:
        try:
            return workflow.do(refuse)
        except Refused as refused:
            return refused.message + workflow.do(other)

    workflows = plain(dtm_server)
    workflows.register(order)
    assert workflows.execute(order, 1) == "sold outother"
    rows = dtm_server.transactions["gid1"].rows
    assert [(row.branch_id, row.status) for row in rows] == [("01", "failed"), ("02", "succeed")]


def test_branches_that_are_refused_in_parallel_roll_back(dtm_server: GenuineDtm) -> None:
    rolled_back: list[str] = []

    async def act(barrier: Barrier) -> None:
        await trio.lowlevel.checkpoint()
        if barrier.branch_id == "02":
            raise Refused("no room")
        await trio.sleep_forever()

    async def back(barrier: Barrier) -> None:
        rolled_back.append(barrier.branch_id)

    async def trip(workflow: AsyncWorkflow, data: None) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(lambda: workflow.do(act, on_rollback=back))
                await trio.lowlevel.checkpoint()  # or trio would begin them in any order

    async def main() -> None:
        async with AsyncDtmClient(dtm_server.url) as dtm:
            workflows = AsyncWorkflows(dtm, "http://me/resume")
            workflows.register(trip)
            with pytest.raises(BaseExceptionGroup):
                await workflows.execute(trip, None, gid="w-1")

    trio.run(main)
    assert rolled_back == ["03", "01"]  # begun, with an outcome that nobody knows
    trans = dtm_server.transactions["w-1"]
    assert (trans.status, trans.reason) == ("failed", "no room")


def test_what_cannot_be_a_workflow_is_refused(dtm_server: GenuineDtm) -> None:
    def fine(workflow: Workflow, data: Transfer) -> None: ...
    def odd(workflow: Workflow) -> None: ...

    workflows = plain(dtm_server)
    with pytest.raises(WorkflowError, match="takes 1 parameters, expected two"):
        workflows.register(odd)  # type: ignore[arg-type]  # on purpose  # pyright: ignore[reportArgumentType]
    with pytest.raises(WorkflowError, match="is not registered"):
        workflows.execute(fine, Transfer(cents=1))
    workflows.register(fine)
    with pytest.raises(WorkflowError, match="registered twice"):
        workflows.register(fine)
    with pytest.raises(NoSuchWorkflow, match="asks for workflow 'other', expected one of fine"):
        workflows.resume(BranchRequest(query={"gid": "w-1", "op": "other"}))
    with pytest.raises(PayloadError, match="the data of workflow"):
        workflows.execute(fine, {"cents": "many"}, gid="w-1")  # type: ignore[arg-type]  # on purpose  # pyright: ignore[reportArgumentType]
    assert dtm_server.asked == []


def test_a_gid_of_another_transaction_is_told_apart(dtm_server: GenuineDtm) -> None:
    def fine(workflow: Workflow, data: None) -> None: ...

    workflows = plain(dtm_server)
    workflows.register(fine)
    dtm = DtmClient(dtm_server.url)
    with dtm.tcc("g-1"):
        pass
    dtm_server.transactions["g-1"].status = "aborting"
    with pytest.raises(WorkflowError, match="belongs to a transaction that is aborting"):
        workflows.execute(fine, None, gid="g-1")


def test_a_refused_rollback_is_no_end(dtm_server: GenuineDtm) -> None:
    def act(barrier: Barrier) -> None:
        if barrier.op == "rollback":
            raise Refused("cannot")

    def trip(workflow: Workflow, data: None) -> None:
        workflow.do(act, on_rollback=act)
        raise Refused("changed my mind")

    workflows = plain(dtm_server)
    workflows.register(trip)
    with pytest.raises(WorkflowError, match="the rollback of branch 01 of workflow w-1 was refused: cannot"):
        workflows.execute(trip, None, gid="w-1")
    assert dtm_server.transactions["w-1"].status == "prepared"
