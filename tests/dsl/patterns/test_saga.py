"""DTM's saga as a workflow: what it asks for, in which order, and what it makes of a refusal."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtx_dsl.commands import Compensate, Step
from flowtx_dsl.error_codec import encode_error
from flowtx_dsl.errors import Refused
from flowtx_dsl.patterns.saga import PAUSE_MAX_S, SagaOrder, SagaStep, address_of, retry_of, saga
from flowtx_dsl.targets import HttpTarget
from flowtx_engine.kernel import events
from flowtx_engine.kernel.events import Began, Event, Succeeded
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked, Order


def order_with(step_count: int, **more: float) -> SagaOrder:
    return SagaOrder(
        steps=tuple(
            SagaStep(
                branch_id=f"{i + 1:02d}", action=f"http://p/do{i}", compensate=f"http://p/undo{i}", payload=b"%d" % i
            )
            for i in range(step_count)
        ),
        branch_headers=(("x-tenant", "t1"),),
        request_timeout_s=more.get("request_timeout_s", 3.0),
        retry_interval_s=more.get("retry_interval_s", 10.0),
    )


class Run:
    """A saga in a kernel, fed by hand."""

    def __init__(self, order: SagaOrder) -> None:
        self.kernel = Kernel(saga, msgspec.json.encode([order]), gid="g")
        self.calls: list[str] = []
        self._seq = 0
        self._feed("", Began(workflow="dtm.saga"))

    def _feed(self, address: str, fact: events.AnyFact) -> None:
        orders: list[Order] = self.kernel.feed(Event(seq=self._seq, at=0.0, address=address, fact=fact))
        self._seq += 1
        self.calls += [_url(order) for order in orders if isinstance(order, Asked)]

    @property
    def asked(self) -> Asked:
        (asked,) = self.kernel.waiting
        return asked

    def succeed(self) -> None:
        self._feed(self.asked.address, Succeeded(call=self.asked.record))

    def refuse(self, message: str) -> None:
        error = encode_error(Refused(message))
        self._feed(self.asked.address, events.Refused(call=self.asked.record, error=error))

    @property
    def status(self) -> str:
        return self.kernel.phase if self.kernel.ended is None else self.kernel.ended.status


def _url(asked: Asked) -> str:
    assert isinstance(asked.command, Step | Compensate)
    return asked.command.call.name


@given(st.integers(0, 6), st.data())
def test_a_saga_goes_forward_and_back_in_order(step_count: int, data: st.DataObject) -> None:
    refused = data.draw(st.integers(0, step_count))  # step_count: none is refused
    run = Run(order_with(step_count))
    for i in range(step_count):
        if i == refused:
            run.refuse("no FAILURE")
            break
        run.succeed()
    there = [f"http://p/do{i}" for i in range(min(refused + 1, step_count))]
    if refused == step_count:
        assert (run.status, run.calls) == ("succeed", there)
        return
    assert run.status == "compensating"
    while run.status == "compensating":
        run.succeed()
    back = [f"http://p/undo{i}" for i in reversed(range(refused + 1))]
    assert (run.status, run.calls) == ("failed", there + back)


def test_a_refusal_becomes_the_reason_with_its_url() -> None:
    run = Run(order_with(2))
    run.succeed()
    run.refuse("not enough money FAILURE")
    assert run.kernel.cause is not None
    assert run.kernel.cause.text == "url:http://p/do1 return failed: not enough money FAILURE"


def test_a_call_carries_what_dtm_participants_expect() -> None:
    run = Run(order_with(2, request_timeout_s=7.0))
    run.succeed()
    command = run.asked.command
    assert isinstance(command, Step)
    assert command.timeout_s == 7.0
    assert command.call.body == b"1"
    assert command.compensation is not None
    assert command.compensation.body == b"1"
    target: HttpTarget[None] = HttpTarget(
        url="http://p/do1", headers=(("x-tenant", "t1"),), result_type=None, branch_id="02", trans_type="saga"
    )
    assert command.call.target == target


@given(st.integers(1, 5))
def test_a_branch_stands_where_its_address_says(step_count: int) -> None:
    run = Run(order_with(step_count))
    for i in range(step_count):
        assert run.asked.address == address_of(i)
        run.succeed() if i < step_count - 1 else run.refuse("no")
    for i in reversed(range(step_count)):
        assert run.asked.address == f"{address_of(i)}/c"
        run.succeed()


@given(st.integers(1, 3600), st.integers(0, 80), st.floats(0, 1))
def test_pauses_double_from_the_base_up_to_a_cap(base_s: int, fault_count: int, dice: float) -> None:
    pause_s = retry_of(float(base_s)).pause_s(fault_count, dice)
    assert pause_s == min(base_s * 2**fault_count, max(PAUSE_MAX_S, 2 * base_s))


@pytest.mark.parametrize(("fault_count", "pause_s"), [(0, 10), (1, 20), (2, 40), (3, 80)])
def test_pauses_of_the_default_interval_are_dtms(fault_count: int, pause_s: float) -> None:
    assert retry_of(10.0).pause_s(fault_count, 0.5) == pause_s


@given(st.binary(max_size=50))
def test_a_payload_survives_the_journal(payload: bytes) -> None:
    order = SagaOrder(
        steps=(SagaStep(branch_id="01", action="", compensate="", payload=payload),),
        request_timeout_s=1.0,
        retry_interval_s=1.0,
    )
    assert saga.signature.decode_args(msgspec.json.encode([order])) == (order,)
