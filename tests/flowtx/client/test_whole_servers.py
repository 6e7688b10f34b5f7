"""The client's every pattern from end to end: against the small server of these tests, `flowtx serve`, and DTM itself.

All three must do the same. DTM is tried where FLOWTX_TEST_DTM_URL says where one runs (any version from 1.18, on this
machine: it calls back).
"""

from __future__ import annotations

import functools
import os
import threading
import time
import uuid
from collections.abc import Callable
from typing import TypeVar

import pytest

from flowtx.client.answers import FoundTransaction
from flowtx.client.barrier import Barrier
from flowtx.client.errors import ServerError, ServerRefused
from flowtx.client.message import Message, MessageStep, topic
from flowtx.client.options import Options
from flowtx.client.participants import BranchRequest, Participant
from flowtx.client.saga import Saga, SagaStep
from flowtx.client.sync_client import DtmClient
from flowtx.client.workflows import Workflow, Workflows
from flowtx_dsl.errors import Refused
from tests.flowtx.client.genuine import GenuineDtm

T = TypeVar("T")
SOON = Options(retry_interval_s=1, wait_result=True, request_timeout_s=20)


class Died(BaseException):
    """The client's process ends here, as far as the server can tell."""


class Service:
    """A client of a server, and participants that this server calls: every call is noted, some are refused."""

    def __init__(self, dtm: DtmClient, host: GenuineDtm) -> None:
        self.dtm, self._host = dtm, host
        self.calls: list[str] = []
        self.refused: set[str] = set()
        for name in ("a", "b", "c"):
            self.serve(name, functools.partial(self._take_part, name))

    def _take_part(self, name: str, call: BranchRequest) -> str:
        query = call.query
        what = f"{query['op']} {name}"
        self.calls.append(what)
        if query["trans_type"] == "xa" and query["op"] == "action":
            self.dtm.register_xa(query, query["phase2_url"])
        if what in self.refused:
            raise Refused(f"{what} is refused")
        return f"{name} did it"

    def serve(self, name: str, handler: Callable[[BranchRequest], object]) -> None:
        """Let a function answer under a name."""
        endpoint = Participant(handler)

        def answer(query: dict[str, str], body: bytes) -> tuple[int, bytes]:
            reply = endpoint.call(BranchRequest(query=query, body=body), {})
            return reply.status, reply.body

        self._host.participants[f"/{name}"] = answer

    def url(self, name: str) -> str:
        return f"{self._host.url}/{name}"

    def ended(self, gid: str) -> tuple[str, list[tuple[str, str, str]]]:
        """How a transaction ended, and how its branches did."""
        found = until(lambda: self._final(gid))
        return found.status, sorted((each.branch_id, each.op, each.status) for each in found.branches)

    def _final(self, gid: str) -> FoundTransaction | None:
        found = self.dtm.query(gid)
        return found if found is not None and found.is_final else None


def until(look: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + 30
    pause = threading.Event()
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        pause.wait(0.05)
    raise AssertionError("it did not happen within 30 seconds")


@pytest.fixture(params=["the tests' own", "flowtx", "DTM"])
def service(request: pytest.FixtureRequest, dtm_server: GenuineDtm) -> Service:
    return make_service(request, dtm_server)


@pytest.fixture(params=["flowtx", "DTM"])
def waking_service(request: pytest.FixtureRequest, dtm_server: GenuineDtm) -> Service:
    """With servers that do something by themselves when it is time."""
    return make_service(request, dtm_server)


def make_service(request: pytest.FixtureRequest, dtm_server: GenuineDtm) -> Service:
    url = dtm_server.url
    if request.param == "flowtx":
        url = request.getfixturevalue("flowtx_url")
    elif request.param == "DTM":
        url = os.environ.get("FLOWTX_TEST_DTM_URL", "")
        if not url:
            pytest.skip("no DTM: run one (github.com/dtm-labs/dtm), set FLOWTX_TEST_DTM_URL=http://localhost:36789")
    return Service(DtmClient(url), dtm_server)


@pytest.fixture
def gid() -> str:
    return uuid.uuid4().hex


def saga(service: Service, gid: str) -> Saga:
    steps = tuple(SagaStep(action=service.url(name), compensate=service.url(name), payload=1) for name in ("a", "b"))
    return Saga(gid=gid, steps=steps, options=SOON)


def test_a_saga_succeeds(service: Service, gid: str) -> None:
    service.dtm.submit(saga(service, gid))
    assert service.ended(gid) == (
        "succeed",
        [
            *(("01", "action", "succeed"), ("01", "compensate", "prepared")),
            *(("02", "action", "succeed"), ("02", "compensate", "prepared")),
        ],
    )
    assert service.calls == ["action a", "action b"]


def test_a_refused_saga_is_compensated(service: Service, gid: str) -> None:
    service.refused.add("action b")
    with pytest.raises(ServerRefused, match="action b is refused"):
        service.dtm.submit(saga(service, gid))
    assert service.ended(gid)[0] == "failed"
    assert service.calls == ["action a", "action b", "compensate b", "compensate a"]


def call_branches(service: Service, gid: str, *, nested: bool = False) -> None:
    def branch(name: str) -> dict[str, str]:
        return {"try_": service.url(name), "confirm": service.url(name), "cancel": service.url(name)}

    with service.dtm.tcc(gid, options=SOON) as tcc:
        assert tcc.call_branch(**branch("a"), payload={"cents": 1}).read(str) == "a did it"
        tcc.call_branch(**branch("b"))
        if nested:
            inner = service.dtm.join_tcc({"gid": gid, "branch_id": "02", "trans_type": "tcc"})
            inner.call_branch(**branch("c"))


def test_a_tcc_is_confirmed_nested_branches_too(service: Service, gid: str) -> None:
    call_branches(service, gid, nested=True)
    status, branches = service.ended(gid)
    assert status == "succeed"
    assert [each for each in branches if each[1] == "confirm"] == [
        (branch_id, "confirm", "succeed") for branch_id in ("01", "02", "0201")
    ]
    assert service.calls == ["try a", "try b", "try c", "confirm c", "confirm b", "confirm a"]


def test_a_tcc_whose_try_is_refused_is_cancelled(service: Service, gid: str) -> None:
    service.refused.add("try b")
    with pytest.raises(Refused, match="try b is refused"):
        call_branches(service, gid)
    assert service.ended(gid)[0] == "failed"
    assert service.calls == ["try a", "try b", "cancel b", "cancel a"]


def test_an_xa_transaction_is_committed_or_rolled_back(service: Service, gid: str) -> None:
    with service.dtm.xa(gid, options=SOON) as xa:
        xa.call_branch(service.url("a"))
        xa.call_branch(service.url("b"), payload=1)
    assert service.ended(gid)[0] == "succeed"
    service.refused.add("action b")
    with pytest.raises(Refused), service.dtm.xa(f"{gid}-2", options=SOON) as xa:
        _ = [xa.call_branch(service.url(name)) for name in ("a", "b")]
    assert service.ended(f"{gid}-2")[0] == "failed"
    done = [*("action a", "action b"), *("commit a", "commit b"), *("action a", "action b")]
    assert service.calls == [*done, "rollback a", "rollback b"]


def test_a_message_is_sent_or_aborted_by_its_business(service: Service, gid: str) -> None:
    def message(number: int) -> Message:
        steps = tuple(MessageStep(action=service.url(name), payload=number) for name in ("a", "b"))
        return Message(gid=f"{gid}-{number}", steps=steps, query_prepared=service.url("c"), options=SOON)

    def refuse(barrier: Barrier) -> None:
        raise Refused("changed my mind")

    def break_after(barrier: Barrier) -> None:
        raise ValueError("broken")

    assert service.dtm.do_and_submit(message(1), lambda barrier: barrier.op) == "msg"
    assert service.ended(f"{gid}-1") == ("succeed", [("01", "action", "succeed"), ("02", "action", "succeed")])
    with pytest.raises(Refused, match="changed my mind"):
        service.dtm.do_and_submit(message(2), refuse)
    assert service.ended(f"{gid}-2")[0] == "failed"
    with pytest.raises(ValueError, match="broken"):
        service.dtm.do_and_submit(message(3), break_after)  # and query-prepared says that it was committed
    assert service.ended(f"{gid}-3")[0] == "succeed"
    assert service.calls == ["action a", "action b", "msg c", "action a", "action b"]


def test_a_topics_subscribers_are_sent_its_messages(service: Service, gid: str) -> None:
    for name in ("a", "b"):
        service.dtm.subscribe(gid, service.url(name), remark="a test's")
    with pytest.raises(ServerError, match="this url exists"):
        service.dtm.subscribe(gid, service.url("a"))

    def submit() -> bool | None:  # DTM knows a new topic after some seconds only (spec 12.15)
        try:
            service.dtm.submit(Message(gid=gid, steps=(MessageStep(action=topic(gid), payload=1),), options=SOON))
        except ServerError as error:
            if "topic not found" not in error.body:
                raise
            return None
        return True

    until(submit)
    assert service.ended(gid) == ("succeed", [("01-01", "action", "succeed"), ("01-02", "action", "succeed")])
    service.dtm.unsubscribe(gid, service.url("a"))
    with pytest.raises(ServerError, match="no such an url"):
        service.dtm.unsubscribe(gid, service.url("a"))
    service.dtm.delete_topic(gid)
    with pytest.raises(ServerError, match="NotFound"):
        service.dtm.delete_topic(gid)


def test_a_workflow_ends_once_and_goes_on_where_it_was(service: Service, gid: str) -> None:
    breaks: list[BaseException] = [ValueError("broken")]

    def local(barrier: Barrier) -> int:
        service.calls.append(f"{barrier.op} local")
        return 7

    def trip(workflow: Workflow, text: str) -> str:
        number = workflow.do(local, on_commit=local, on_rollback=local)
        answer = workflow.call(service.url("a"), payload={"ä": text}, on_rollback=service.url("a")).read(str)
        if breaks:
            raise breaks.pop()
        return f"{text} {number} {answer}"

    workflows = Workflows(service.dtm, "http://127.0.0.1:9/nobody")
    workflows.register(trip)
    with pytest.raises(ValueError, match="broken"):
        workflows.execute(trip, "FAILURE", gid=gid)
    for _ in range(2):
        assert workflows.execute(trip, "FAILURE", gid=gid) == "FAILURE 7 a did it"
    assert service.ended(gid) == (
        "succeed",
        [("01", "action", "succeed"), ("01", "commit", "succeed"), ("02", "action", "succeed")],
    )
    breaks.append(Refused("no licence"))
    for _ in range(2):
        with pytest.raises(Refused, match="no licence"):
            workflows.execute(trip, "x", gid=f"{gid}-2")
    assert service.ended(f"{gid}-2")[0] == "failed"
    assert service.calls == [
        *("action local", "action a", "commit local"),
        *("action local", "action a", "rollback a", "rollback local"),
    ]


def test_a_transaction_can_be_stopped_by_force(service: Service, gid: str) -> None:
    message = Message(gid=gid, steps=(), query_prepared=service.url("c"))
    service.dtm.prepare(message)
    service.dtm.force_stop(gid)
    assert service.ended(gid)[0] == "failed"
    with pytest.raises(ServerRefused, match="cannot sumbmit"):
        service.dtm.submit(message)
    assert service.dtm.query(f"{gid}-unknown") is None
    assert service.dtm.new_gid() != service.dtm.new_gid()


def test_a_workflow_whose_service_died_is_resumed_by_the_server(waking_service: Service, gid: str) -> None:
    service, dies = waking_service, [Died()]

    def local(barrier: Barrier) -> int:
        service.calls.append(f"{barrier.op} local")
        return 7

    def trip(workflow: Workflow, text: str) -> str:
        number = workflow.do(local)
        if dies:
            raise dies.pop()
        return f"{text} {number} {workflow.call(service.url('a')).read(str)}"

    workflows = Workflows(service.dtm, service.url("resume"))
    workflows.register(trip)
    service.serve("resume", workflows.resume)
    with pytest.raises(Died):
        workflows.execute(trip, "ä", gid=gid, options=Options(retry_interval_s=1))
    assert service.ended(gid)[0] == "succeed"
    assert service.calls == ["action local", "action a"]
    assert workflows.execute(trip, "ä", gid=gid) == "ä 7 a did it"


@pytest.mark.parametrize("was_committed", [True, False])
def test_a_message_whose_service_died_is_asked_for(waking_service: Service, gid: str, was_committed: bool) -> None:
    service = waking_service
    if not was_committed:
        service.refused.add("msg c")
    steps = (MessageStep(action=service.url("a"), payload=1),)
    options = Options(timeout_to_fail_s=1, retry_interval_s=1)
    service.dtm.prepare(Message(gid=gid, steps=steps, query_prepared=service.url("c"), options=options))
    assert service.ended(gid)[0] == ("succeed" if was_committed else "failed")
    assert service.calls == (["msg c", "action a"] if was_committed else ["msg c"])


def test_a_tcc_whose_service_died_is_cancelled(waking_service: Service, gid: str) -> None:
    service = waking_service
    options = Options(timeout_to_fail_s=1, retry_interval_s=1)
    tcc = service.dtm.tcc(gid, options=options).__enter__()
    tcc.call_branch(try_=service.url("a"), confirm=service.url("a"), cancel=service.url("a"))
    assert service.ended(gid)[0] == "failed"
    assert service.calls == ["try a", "cancel a"]
