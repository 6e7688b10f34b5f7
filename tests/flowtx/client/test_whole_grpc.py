"""The client's every pattern over gRPC, with participants that speak it too: against `flowtx serve`, and DTM itself
where FLOWTX_TEST_DTM_URL and FLOWTX_TEST_DTM_GRPC_URL say where one runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from flowtx.client.async_client import AsyncDtmClient
from flowtx.client.async_workflows import AsyncWorkflow, AsyncWorkflows
from flowtx.client.barrier import Barrier
from flowtx.client.errors import BranchFault, ServerError, ServerRefused
from flowtx.client.grpc import add_workflows, callback_of, participant, query_of
from flowtx.client.message import Message, MessageStep, topic
from flowtx.client.options import Options
from flowtx.client.saga import Saga, SagaStep
from flowtx.client.sync_client import DtmClient
from flowtx.client.workflows import Workflow, Workflows
from flowtx_dsl.errors import Ongoing, Refused
from tests.flowtx.client.conftest import Addresses, Patience, Runner, ended, over

SOON = Options(retry_interval_s=1, wait_result=True, request_timeout_s=20)
PAID = StringValue(value="alice \N{BLACK HEART SUIT}")
BYTES = b"\x00\xff not a text"


@dataclass
class Bank:
    """Participants over gRPC: ``Out``, ``In``, ``Ask`` of service ``Bank``. Every call is noted, some are refused."""

    server: grpc.Server
    address: str = ""
    calls: list[str] = field(default_factory=list[str])
    payloads: list[bytes] = field(default_factory=list[bytes])
    fails: dict[str, Exception] = field(default_factory=dict[str, Exception])
    xa: DtmClient | None = None

    def url(self, method: str) -> str:
        return f"{self.address}/Bank/{method}"

    def handle(self, method: str) -> Any:
        bank = self

        class Servicer:
            @participant()
            def answer(self, request: bytes, barrier: Barrier) -> bytes:
                what = f"{barrier.op} {method}"
                bank.calls.append(what)
                bank.payloads.append(request)
                if what in bank.fails:
                    raise bank.fails[what]
                return Int64Value(value=len(request)).SerializeToString()

        def call(request: bytes, context: grpc.ServicerContext) -> bytes:
            query = query_of(context)
            if query["trans_type"] == "xa" and query["op"] == "action":
                assert bank.xa is not None
                bank.xa.register_xa(query, query["phase2_url"])
            return Servicer().answer(request, context)

        untyped: Any = grpc
        return untyped.unary_unary_rpc_method_handler(call)


@pytest.fixture
def bank() -> Iterator[Bank]:
    bank = Bank(grpc.server(futures.ThreadPoolExecutor(8)))
    untyped: Any = grpc
    methods = {name: bank.handle(name) for name in ("Out", "In", "Ask")}
    bank.server.add_generic_rpc_handlers((untyped.method_handlers_generic_handler("Bank", methods),))
    bank.address = f"127.0.0.1:{bank.server.add_insecure_port('127.0.0.1:0')}"
    bank.server.start()
    yield bank
    bank.server.stop(None).wait(20)


def saga(bank: Bank, gid: str, **options: Any) -> Saga:
    steps = (
        SagaStep(action=bank.url("Out"), compensate=bank.url("Out"), payload=PAID),
        SagaStep(action=bank.url("In"), compensate=bank.url("In"), payload=BYTES),
    )
    return Saga(gid=gid, steps=steps, options=SOON, **options)


def test_a_saga_over_grpc_carries_messages_and_bytes(
    addresses: Addresses, bank: Bank, gid: str, runner: Runner, until_final: Patience
) -> None:
    over(runner, addresses.grpc, lambda dtm: dtm.submit(saga(bank, gid)), lambda dtm: dtm.submit(saga(bank, gid)))
    assert (bank.calls, bank.payloads) == (["action Out", "action In"], [PAID.SerializeToString(), BYTES])
    assert ended(addresses, gid, until_final) == "succeed"


def test_a_refused_saga_over_grpc_is_compensated(
    addresses: Addresses, bank: Bank, gid: str, runner: Runner, until_final: Patience
) -> None:
    bank.fails["action In"] = Refused("no such account")
    with pytest.raises(ServerRefused, match=r"Submit ended in ABORTED: .*no such account") as raised:
        over(runner, addresses.grpc, lambda dtm: dtm.submit(saga(bank, gid)), lambda dtm: dtm.submit(saga(bank, gid)))
    assert raised.value.status == grpc.StatusCode.ABORTED.value[0]
    assert ended(addresses, gid, until_final) == "failed"
    assert bank.calls == ["action Out", "action In", "compensate In", "compensate Out"]


def test_a_concurrent_saga_keeps_its_orders_over_grpc(addresses: Addresses, bank: Bank, gid: str) -> None:
    with DtmClient(addresses.grpc) as dtm:
        dtm.submit(saga(bank, gid, concurrent=True, orders={0: [1]}))
    assert bank.calls == ["action In", "action Out"]


def urls(bank: Bank, method: str) -> dict[str, str]:
    return {"try_": bank.url(method), "confirm": bank.url(method), "cancel": bank.url(method)}


def test_a_tcc_over_grpc_is_tried_and_confirmed(
    addresses: Addresses, bank: Bank, gid: str, runner: Runner, until_final: Patience
) -> None:
    def sync(dtm: DtmClient) -> int:
        with dtm.tcc(gid, options=SOON) as tcc:
            tcc.call_branch(**urls(bank, "Out"), payload=PAID)
            return tcc.call_branch(**urls(bank, "In"), payload=BYTES).read(Int64Value).value

    async def other(dtm: AsyncDtmClient) -> int:
        async with dtm.tcc(gid, options=SOON) as tcc:
            await tcc.call_branch(**urls(bank, "Out"), payload=PAID)
            return (await tcc.call_branch(**urls(bank, "In"), payload=BYTES)).read(Int64Value).value

    assert over(runner, addresses.grpc, sync, other) == len(BYTES)
    assert ended(addresses, gid, until_final) == "succeed"
    assert sorted(bank.calls) == ["confirm In", "confirm Out", "try In", "try Out"]
    assert sorted(bank.payloads) == sorted([PAID.SerializeToString(), BYTES] * 2)


@pytest.mark.parametrize(
    ("error", "expected", "said"),
    [
        (Refused("no money"), Refused, "try of branch 01 of .* was refused: no money"),
        (Ongoing("not yet"), Ongoing, "is not finished: not yet"),
        (ValueError("broken"), BranchFault, "ended in INTERNAL, expected OK: ValueError: broken"),
    ],
)
def test_what_a_try_over_grpc_says_aborts_the_tcc(
    addresses: Addresses,
    bank: Bank,
    gid: str,
    error: Exception,
    expected: type[Exception],
    said: str,
    until_final: Patience,
) -> None:
    bank.fails["try Out"] = error
    with DtmClient(addresses.grpc) as dtm, pytest.raises(expected, match=said), dtm.tcc(gid, options=SOON) as tcc:
        tcc.call_branch(**urls(bank, "Out"))
    assert ended(addresses, gid, until_final) == "failed"
    assert bank.calls == ["try Out", "cancel Out"]


def test_an_xa_over_grpc_ends_every_branch(addresses: Addresses, bank: Bank, gid: str, until_final: Patience) -> None:
    with DtmClient(addresses.grpc) as dtm:
        bank.xa = dtm
        with dtm.xa(gid, options=SOON) as xa:
            assert xa.call_branch(bank.url("Out"), payload=PAID).read(bytes)
    assert ended(addresses, gid, until_final) == "succeed"
    assert bank.calls == ["action Out", "commit Out"]


@pytest.mark.parametrize("was_committed", [True, False])
def test_a_message_over_grpc_whose_business_broke_is_asked_for(
    addresses: Addresses, bank: Bank, gid: str, was_committed: bool, until_final: Patience
) -> None:
    def business(barrier: Barrier) -> None:
        raise ValueError("broken")

    if not was_committed:
        bank.fails["msg Ask"] = Refused("never heard of it")
    steps = (MessageStep(action=bank.url("In"), payload=BYTES),)
    message = Message(gid=gid, steps=steps, query_prepared=bank.url("Ask"), options=SOON)
    with DtmClient(addresses.grpc) as dtm, pytest.raises(ValueError, match="broken"):
        dtm.do_and_submit(message, business)
    assert ended(addresses, gid, until_final) == ("succeed" if was_committed else "failed")
    assert bank.calls == (["msg Ask", "action In"] if was_committed else ["msg Ask"])


def test_topics_over_grpc(addresses: Addresses, bank: Bank, gid: str, until_final: Patience) -> None:
    name = f"orders-{gid}"
    with DtmClient(addresses.grpc) as dtm:
        dtm.subscribe(name, bank.url("In"), remark="the bank's")
        with pytest.raises(ServerError, match="this url exists"):
            dtm.subscribe(name, bank.url("In"))

        def send() -> bool | None:  # DTM learns of a topic within seconds
            try:
                dtm.submit(Message(gid=gid, steps=(MessageStep(action=topic(name), payload=PAID),), options=SOON))
            except ServerError as error:
                if "topic not found" in error.message:
                    return None
                raise
            return True

        until_final.wait(send)
        dtm.unsubscribe(name, bank.url("In"))
        dtm.delete_topic(name)
    assert bank.payloads == [PAID.SerializeToString()]


class Died(BaseException):
    """The client's process ends here."""


def test_a_workflow_over_grpc_goes_on_after_a_crash(
    addresses: Addresses, bank: Bank, gid: str, until_final: Patience
) -> None:
    deaths = ["first"]

    def reserve(barrier: Barrier) -> int:
        bank.calls.append(f"{barrier.op} here")
        return 7

    def trip(workflow: Workflow, traveller: str) -> str:
        seat = workflow.do(reserve, on_commit=reserve)
        length = workflow.call(bank.url("Out"), payload=PAID, on_commit=bank.url("In")).read(Int64Value).value
        if deaths:
            raise Died(deaths.pop())
        return f"{traveller} has seat {seat}, {length} bytes"

    with DtmClient(addresses.grpc) as dtm:
        workflows = Workflows(dtm, callback_of(bank.address))
        workflows.register(trip, name="trip")
        add_workflows(workflows, bank.server)
        with pytest.raises(Died):
            workflows.execute(trip, "alice", gid=gid, options=Options(retry_interval_s=1))
        assert ended(addresses, gid, until_final) == "succeed"
    assert bank.calls == ["action here", "action Out", "commit In", "commit here"]


def test_a_workflow_over_grpc_runs_on_asyncio(addresses: Addresses, bank: Bank, gid: str) -> None:
    async def trip(workflow: AsyncWorkflow, traveller: str) -> bytes:
        answer = await workflow.call(bank.url("Out"), payload=BYTES, on_rollback=bank.url("In"))
        if traveller == "nobody":
            raise Refused("no such traveller")
        return answer.body

    async def main() -> bytes:
        async with AsyncDtmClient(addresses.grpc) as dtm:
            workflows = AsyncWorkflows(dtm, callback_of("127.0.0.1:1"))
            workflows.register(trip)
            with pytest.raises(Refused, match="no such traveller"):
                await workflows.execute(trip, "nobody", gid=f"{gid}-2")
            return await workflows.execute(trip, "alice", gid=gid)

    assert asyncio.run(main()) == Int64Value(value=len(BYTES)).SerializeToString()
    assert bank.calls == ["action Out", "rollback In", "action Out"]


def test_a_finished_workflow_over_grpc_tells_its_result_where_the_server_does(
    flowtx_addresses: Addresses, gid: str
) -> None:
    def trip(workflow: Workflow, traveller: str) -> str:
        return f"{traveller} was there"

    with DtmClient(flowtx_addresses.grpc) as dtm:
        workflows = Workflows(dtm, callback_of("127.0.0.1:1"))
        workflows.register(trip)
        assert workflows.execute(trip, "alice", gid=gid) == workflows.execute(trip, "bob", gid=gid) == "alice was there"
