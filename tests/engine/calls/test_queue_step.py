"""A step on a queue: the message its consumers find, and that whatever goes wrong is a fault, never a refusal."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio

from flowtx_dsl.commands import Compensate, Step
from flowtx_dsl.errors import StepFault, StepTimeout
from flowtx_dsl.policies import Retry
from flowtx_dsl.remote import participant_target, queue
from flowtx_dsl.targets import QueueTarget
from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.calls.passing import pass_on
from flowtx_engine.calls.queue_step import message_of, perform_queue
from flowtx_engine.calls.queue_types import QueueFault, QueueMessage

URL = "redis://u:geheim@h/0/orders"


@dataclass
class Transport:
    """Takes messages, or raises what it was given, or hangs."""

    trouble: Exception | None = None
    hangs: bool = False
    messages: list[QueueMessage] = field(default_factory=list[QueueMessage])

    async def publish(self, message: QueueMessage) -> None:
        self.messages.append(message)
        await trio.lowlevel.checkpoint()
        if self.hangs:
            await trio.sleep_forever()
        if self.trouble is not None:
            raise self.trouble


def dtm(url: str = URL, **given: Any) -> QueueTarget[None]:
    return QueueTarget(url=url, trans_type="msg", branch_id="01", result_type=None, **given)


def attempt_at(target: QueueTarget[Any], *args: object, gid: str = "g-1", timeout_s: float | None = None) -> Attempt:
    command = Step(call=target.call(args), where="", retry=Retry(), timeout_s=timeout_s)
    return Attempt(gid=gid, address="0", number=1, command=command)


async def performed(target: QueueTarget[Any], attempt: Attempt, transport: Transport) -> Outcome:
    return await perform_queue(target, attempt, transport, default_timeout_s=3)


def test_a_message_holds_the_facts_the_key_and_the_headers_of_its_branch() -> None:
    target = dtm(headers=(("Tenant", "7 ü"), ("dtm-op", "mine")))
    message = message_of(target, attempt_at(target, b"\x00payload"))
    assert (message.message_id, message.body) == ("g-1/0", b"\x00payload")
    assert message.headers == (
        ("dtm-gid", "g-1"),
        ("dtm-trans_type", "msg"),
        ("dtm-branch_id", "01"),
        ("dtm-op", "action"),
        ("idempotency-key", "g-1/0"),
        ("Tenant", "7 ü"),
    )


def test_a_key_of_their_own_replaces_the_steps() -> None:
    target = dtm(headers=(("Idempotency-Key", "mine"),))
    message = message_of(target, attempt_at(target))
    assert message.message_id == dict(message.headers)["idempotency-key"] == "mine"
    assert [name for name, _ in message.headers if name.lower() == "idempotency-key"] == ["idempotency-key"]


def test_a_compensation_is_another_message_that_says_so() -> None:
    call = dtm().call((b"",))
    back = Attempt(
        gid="g-1", address="0/c", number=1, command=Compensate(call=call, where="", retry=Retry(), step=call)
    )
    message = message_of(dtm(), back)
    assert (message.message_id, dict(message.headers)["dtm-op"]) == ("g-1/0/c", "compensate")


def test_a_gid_that_no_header_could_hold_is_percent_encoded() -> None:
    message = message_of(dtm(), attempt_at(dtm(), gid="a b\r\nNats-Rollup: all ü%"))
    assert dict(message.headers)["dtm-gid"] == "a%20b%0D%0ANats-Rollup:%20all%20%C3%BC%25"
    assert message.message_id == "a%20b%0D%0ANats-Rollup:%20all%20%C3%BC%25/0"


@pytest.mark.parametrize("header", [("", "x"), ("a:b", "x"), ("a b", "x"), ("ü", "x"), ("a", "x\ny"), ("a\n", "x")])
async def test_headers_that_would_break_a_protocol_are_a_fault(header: tuple[str, str]) -> None:
    transport, target = Transport(), dtm(headers=(header,))
    outcome = await performed(target, attempt_at(target), transport)
    assert outcome.kind == "unknown"
    assert "cannot be sent the header" in str(outcome.error)
    assert not transport.messages


async def test_a_trace_is_passed_on_as_a_header() -> None:
    transport = Transport()
    pass_on((("traceparent", "00-1"),))
    await performed(dtm(), attempt_at(dtm()), transport)
    pass_on(())
    assert ("traceparent", "00-1") in transport.messages[0].headers


async def test_a_message_that_was_taken_is_a_success_without_a_value() -> None:
    target = queue(URL)
    assert await performed(target, attempt_at(target, 1), Transport()) == Outcome(kind="succeeded")


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        (QueueFault("the stream is full"), "the stream is full"),
        (QueueFault("FAILURE"), "FAILURE"),  # a broker says no in nobody's name
        (OSError("no route"), "redis://***@h/0/orders cannot be called: no route"),
        (asyncio.InvalidStateError("odd"), "redis://***@h/0/orders cannot be called: odd"),
    ],
)
async def test_whatever_goes_wrong_is_unknown_and_tried_again(trouble: Exception, text: str) -> None:
    outcome = await performed(dtm(), attempt_at(dtm()), Transport(trouble=trouble))
    assert outcome.kind == "unknown"
    assert isinstance(outcome.error, StepFault)
    assert str(outcome.error) == text


async def test_a_broker_that_is_silent_runs_out_of_time(autojump_clock: trio.testing.MockClock) -> None:
    outcome = await performed(dtm(), attempt_at(dtm(), timeout_s=5), Transport(hangs=True))
    assert isinstance(outcome.error, StepTimeout)
    assert str(outcome.error) == "redis://***@h/0/orders did not answer within 5 s"


async def test_a_malformed_url_that_was_stored_is_a_fault_without_its_password() -> None:
    target = participant_target("http", "redis://u:geheim@h/orders", trans_type="msg", branch_id="01")
    assert isinstance(target, QueueTarget)
    outcome = await performed(target, attempt_at(target), Transport())
    assert outcome.kind == "unknown"
    assert "its path has 1 segments" in str(outcome.error)
    assert "geheim" not in str(outcome.error)
