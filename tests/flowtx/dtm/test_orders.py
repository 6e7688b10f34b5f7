"""Which sagas are taken, and what those that are not are told."""

from __future__ import annotations

import json

import msgspec
import pytest

from flowtx.dtm.orders import STEPS_MAX, saga_of
from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.requests import TransactionRequest
from flowtx.settings import Settings
from flowtx_dsl.patterns.saga import SagaOrder, SagaStep

STEP = {"action": "http://a/do", "compensate": "http://a/undo"}
NOTHING: dict[str, str] = {}
GOOD = TransactionRequest(gid="g", trans_type="saga", steps=(STEP,), payloads=(b"p",))


def orders(orders: dict[str, list[int]], *, concurrent: bool = True, step_count: int = 3) -> dict[str, object]:
    """What a request changes for a saga with orders between its steps."""
    return {
        "steps": (STEP,) * step_count,
        "payloads": (b"",) * step_count,
        "custom_data": json.dumps({"concurrent": concurrent, "orders": orders}),
    }


def order_with(**changes: object) -> SagaOrder:
    return saga_of(msgspec.structs.replace(GOOD, **changes), Settings(request_timeout_s=3, retry_interval_s=10))


def test_steps_get_two_digits_and_their_payloads() -> None:
    order = order_with(steps=(STEP, NOTHING), payloads=(b"p", b"q", b"ignored"))
    assert order.steps == (
        SagaStep(branch_id="01", action="http://a/do", compensate="http://a/undo", payload=b"p"),
        SagaStep(branch_id="02", action="", compensate="", payload=b"q"),
    )


@pytest.mark.parametrize(("retry_interval", "base_s"), [(0, 10), (1, 1), (150, 150), (-5, 1), (2**62, 365 * 86_400)])
def test_the_base_of_pauses_is_the_requests_or_the_servers(retry_interval: int, base_s: float) -> None:
    assert order_with(retry_interval=retry_interval).retry_interval_s == base_s


@pytest.mark.parametrize(("request_timeout", "timeout_s"), [(0, 3), (6, 6), (-1, 3)])
def test_a_calls_timeout_is_the_requests_or_the_servers(request_timeout: int, timeout_s: float) -> None:
    assert order_with(request_timeout=request_timeout).request_timeout_s == timeout_s


@pytest.mark.parametrize("custom_data", ["", "{}", '{"concurrent":false,"orders":{}}', '{"orders":null,"x":1}'])
def test_custom_data_that_asks_for_nothing_is_taken(custom_data: str) -> None:
    assert len(order_with(custom_data=custom_data).steps) == 1


def test_orders_are_kept_for_each_step() -> None:
    order = order_with(**orders({"2": [1, 0, 1], "1": [], "7": [9]}))
    assert (order.concurrent, order.after) == (True, ((), (), (0, 1)))


def test_orders_that_the_sequence_says_anyway_change_nothing() -> None:
    order = order_with(**orders({"2": [0], "1": [0]}, concurrent=False))
    assert (order.concurrent, order.after) == (False, ())


def test_a_long_chain_of_orders_is_looked_through_in_no_time() -> None:
    count = STEPS_MAX
    with pytest.raises(RequestError, match=f"{count} steps wait for one another in a row"):
        order_with(**orders({str(i): [i - 1] for i in range(1, count)}, step_count=count))


@pytest.mark.parametrize(("asked", "kept"), [(0, 0), (30, 30), (-1, 0), (2**62, 2**62)])
def test_a_timeout_and_a_retry_limit_are_the_requests_and_below_zero_there_is_none(asked: int, kept: int) -> None:
    order = order_with(timeout_to_fail=asked, retry_limit=asked)
    assert (order.timeout_s, order.retry_limit) == (kept, kept)


def test_the_concurrent_option_without_custom_data_means_nothing_to_a_saga() -> None:
    assert order_with(concurrent=True) == order_with()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"payloads": ()}, "the saga has 1 steps and 0 payloads, expected one for each step"),
        ({"steps": (STEP,) * (STEPS_MAX + 1), "payloads": (b"",) * (STEPS_MAX + 1)}, f"expected at most {STEPS_MAX}"),
        (orders({"0": [0]}), r"steps \[0\] wait for each other"),
        (orders({"0": [1], "1": [2], "2": [1]}), r"steps \[0, 1, 2\] wait for each other"),
        (orders({"1": [3]}), "step 1 waits for step 3, expected one of the 3 steps"),
        (orders({"1": [-1]}), "step 1 waits for step -1, expected one of the 3 steps"),
        (orders({"1": [2]}, concurrent=False), "step 1 waits for step 2, expected an earlier one"),
        (orders({str(i): [i - 1] for i in range(1, 101)}, step_count=101), "101 steps wait .* expected at most 100"),
        ({"custom_data": "nonsense"}, "custom_data of a saga cannot be read"),
    ],
)
def test_a_saga_that_cannot_run_as_ordered_is_told_why(changes: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        order_with(**changes)


@pytest.mark.parametrize(("protocol", "kept"), [("", "http"), ("http", "http"), ("json-rpc", "json-rpc"), ("x", "x")])
def test_the_protocol_is_kept_with_the_order_because_it_decides_how_participants_are_called(
    protocol: str, kept: str
) -> None:
    assert order_with(protocol=protocol).protocol == kept
