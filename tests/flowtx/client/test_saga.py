"""A saga as a value: what the submit says, and what is refused before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from flowtx.client.exchanges import ClientAnswer, ClientRequest
from flowtx.client.options import Options
from flowtx.client.saga import Saga, SagaStep
from flowtx.client.sync_client import DtmClient
from flowtx.dtm.orders import saga_of
from flowtx.dtm.wire.requests import parse_transaction_request
from flowtx.settings import Settings
from flowtx_dsl.errors import PayloadError, WorkflowError


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    amount: Decimal


STEPS = (
    SagaStep(action="http://a/out", compensate="http://a/out-undo", payload=Transfer(amount=Decimal("30.50"))),
    SagaStep(action="http://b/in", payload={"ü": 1}),
)


def submitted(saga: Saga) -> bytes:
    """The body that submits it."""
    sent: list[ClientRequest] = []

    def send(request: ClientRequest) -> ClientAnswer:
        sent.append(request)
        return ClientAnswer(status=200, body=b'{"dtm_result":"SUCCESS"}')

    DtmClient("http://dtm:36789", send=send).submit(saga)
    [request] = sent
    return request.body


def body_of(saga: Saga) -> Any:
    return json.loads(submitted(saga))


def test_a_plain_saga_says_no_more_than_it_must() -> None:
    assert body_of(Saga(gid="g-1", steps=STEPS)) == {
        "gid": "g-1",
        "trans_type": "saga",
        "steps": [
            {"action": "http://a/out", "compensate": "http://a/out-undo"},
            {"action": "http://b/in", "compensate": ""},
        ],
        "payloads": ['{"amount":"30.50"}', '{"ü":1}'],
    }


def test_options_go_out_under_dtms_names() -> None:
    options = Options(
        wait_result=True,
        request_timeout_s=1,
        timeout_to_fail_s=2,
        retry_interval_s=3,
        retry_count_max=4,
        branch_headers={"x-tenant": "7"},
    )
    body = body_of(Saga(gid="g-1", steps=STEPS, options=options))
    assert {name: body[name] for name in body if name not in ("gid", "trans_type", "steps", "payloads")} == {
        "wait_result": True,
        "request_timeout": 1,
        "timeout_to_fail": 2,
        "retry_interval": 3,
        "retry_limit": 4,
        "branch_headers": {"x-tenant": "7"},
    }


def test_a_concurrent_saga_carries_its_orders_as_text() -> None:
    saga = Saga(gid="g-1", steps=STEPS * 2, concurrent=True, orders={2: [1, 0], 3: {1}})
    assert json.loads(body_of(saga)["custom_data"]) == {"concurrent": True, "orders": {"2": [0, 1], "3": [1]}}
    assert json.loads(body_of(Saga(gid="g-1", steps=STEPS, concurrent=True))["custom_data"])["concurrent"] is True


def test_our_own_server_reads_what_was_meant() -> None:
    options = Options(request_timeout_s=7, retry_interval_s=5, branch_headers={"x": "y"})
    request = parse_transaction_request(submitted(Saga(gid="g-1", steps=STEPS, options=options)))
    order = saga_of(request, Settings())
    assert [(step.action, step.compensate, step.payload) for step in order.steps] == [
        ("http://a/out", "http://a/out-undo", b'{"amount":"30.50"}'),
        ("http://b/in", "", '{"ü":1}'.encode()),
    ]
    assert (order.request_timeout_s, order.retry_interval_s, order.branch_headers) == (7.0, 5.0, (("x", "y"),))


def test_a_payload_that_is_no_data_is_named() -> None:
    saga = Saga(gid="g-1", steps=(STEPS[0], SagaStep(action="http://a", payload={"lock": object()})))
    with pytest.raises(PayloadError, match=r"step 1 of saga g-1.*cannot be sent as JSON"):
        submitted(saga)


@pytest.mark.parametrize("gid", ["", "a;b", "a\nb", "a\rb", "a\0b", "x" * 129])
def test_a_gid_that_no_server_would_keep_is_refused(gid: str) -> None:
    with pytest.raises(WorkflowError, match="new_gid"):
        Saga(gid=gid, steps=STEPS)


@pytest.mark.parametrize(
    ("orders", "concurrent", "complaint"),
    [
        ({1: [0]}, False, "not concurrent"),
        ({2: [0]}, True, "name step 2"),
        ({1: [-1]}, True, "name step -1"),
        ({0: [1], 1: [0]}, True, "circle"),
        ({0: [0]}, True, "circle"),
    ],
)
def test_orders_that_cannot_be_kept_are_refused(
    orders: Mapping[int, list[int]], concurrent: bool, complaint: str
) -> None:
    with pytest.raises(WorkflowError, match=complaint):
        Saga(gid="g-1", steps=STEPS, concurrent=concurrent, orders=orders)


@pytest.mark.parametrize("name", ["request_timeout_s", "timeout_to_fail_s", "retry_interval_s", "retry_count_max"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_a_time_that_is_no_whole_number_of_seconds_is_refused(name: str, value: Any) -> None:
    with pytest.raises(WorkflowError, match=name):
        Options(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("a b", "x"), ("", "x"), ("x", "a\r\nb: c"), ("x", "ü"), ("ü", "x")])
def test_a_header_that_is_none_is_refused(name: str, value: str) -> None:
    with pytest.raises(WorkflowError, match="which no HTTP header can be"):
        Options(branch_headers={name: value})
