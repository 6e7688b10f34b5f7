"""A step over JSON-RPC: the call that DTM's participants expect, and what their answers mean (spec 3.3, 12.5, 12.6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from flowtx_dsl.commands import Compensate, Step
from flowtx_dsl.errors import Ongoing, PayloadError, Refused, StepFault, StepTimeout
from flowtx_dsl.policies import Retry
from flowtx_dsl.remote import json_rpc, participant_target
from flowtx_dsl.targets import JsonRpcTarget
from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.calls.http_types import HttpFault, HttpRequest, HttpResponse
from flowtx_engine.calls.json_rpc_step import outcome_of, perform_json_rpc, request_of

URL = "http://busi/rpc?method=TransOut&x=1"
FACTS = {"branch_id": "01", "gid": "g-1", "op": "action", "trans_type": "saga"}


@dataclass
class Transport:
    """Answers with what it was given, and keeps the requests."""

    answer: HttpResponse | Exception
    requests: list[HttpRequest] = field(default_factory=list[HttpRequest])

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        await trio.lowlevel.checkpoint()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def answer(body: str, status: int = 200) -> HttpResponse:
    return HttpResponse(status=status, headers=(), body=body.encode())


def dtm(**given: Any) -> JsonRpcTarget[None]:
    target = participant_target("json-rpc", URL, trans_type="saga", branch_id="01", **given)
    assert isinstance(target, JsonRpcTarget)
    return target


def attempt_at(target: JsonRpcTarget[Any], *args: object) -> Attempt:
    command = Step(call=target.call(args), where="", retry=Retry())
    return Attempt(gid="g-1", address="0", number=1, command=command)


def sent(target: JsonRpcTarget[Any], *args: object) -> tuple[HttpRequest, dict[str, Any]]:
    request = request_of(target, attempt_at(target, *args))
    return request, msgspec.json.decode(request.body)


async def performed(target: JsonRpcTarget[Any], transport: Transport, *args: object) -> Outcome:
    return await perform_json_rpc(target, attempt_at(target, *args), transport, default_timeout_s=3)


# -- the call


def test_check_181_dtms_facts_are_parameters_and_nothing_is_added_to_the_url() -> None:
    request, call = sent(dtm(), b'{"amount":30,"gid":"mine"}')
    assert (request.method, request.url) == ("POST", URL)
    assert call.keys() == {"id", "jsonrpc", "method", "params"}
    assert (call["jsonrpc"], call["method"]) == ("2.0", "TransOut")
    assert call["params"] == {"amount": 30, **FACTS}
    assert request.headers == (("Content-Type", "application/json"), ("Idempotency-Key", "g-1/0"))


def test_an_id_is_of_one_call_and_holds_none_of_dtms_words() -> None:
    ids = {sent(dtm(), b"{}")[1]["id"] for _ in range(100)}
    assert len(ids) == 100
    assert not [it for it in ids if "FAILURE" in it or "ONGOING" in it]


@pytest.mark.parametrize("payload", [b"", b"null", b" ", b"{}", b" null "])
def test_nothing_to_say_is_an_empty_object_with_the_facts(payload: bytes) -> None:
    assert sent(dtm(), payload)[1]["params"] == FACTS


def test_numbers_travel_as_they_are_written() -> None:
    request, _ = sent(dtm(), b'{"a":1.0,"b":123456789012345678901234567890,"c":1e300,"d":{"e":[0.10]}}')
    assert b'"a":1.0,"b":123456789012345678901234567890,"c":1e300,"d":{"e":[0.10]}' in request.body


@pytest.mark.parametrize("payload", [b"[]", b"[1]", b"3", b'"x"', b"{", b"\xff", b'{"a":1}x', b"[" * 100_000])
async def test_a_payload_that_is_no_object_is_a_clear_fault_and_not_sent(payload: bytes) -> None:
    transport = Transport(answer("{}"))
    outcome = await performed(dtm(), transport, payload)
    assert outcome.kind == "unknown"
    assert isinstance(outcome.error, StepFault)
    assert outcome.error.message.startswith(f"{URL} cannot be called over JSON-RPC with the payload ")
    assert "expected a JSON object" in outcome.error.message
    assert transport.requests == []


def test_a_python_steps_call() -> None:
    target = json_rpc("http://hotel/rpc", method="book", headers={"X-Api": "k"}, result=int)
    request, call = sent(target, {"nights": 2})
    assert (request.url, call["method"]) == ("http://hotel/rpc", "book")
    assert call["params"] == {
        "nights": 2,
        "branch_id": "0",
        "gid": "g-1",
        "op": "action",
        "trans_type": "workflow",
    }
    assert request.headers[-1] == ("X-Api", "k")


def test_a_compensation_says_so_and_another_op_can_be_named() -> None:
    call = dtm().call((b"{}",))
    taken_back = Attempt(
        gid="g-1", address="0/c", number=1, command=Compensate(call=call, where="", retry=Retry(), step=call)
    )
    assert msgspec.json.decode(request_of(dtm(), taken_back).body)["params"]["op"] == "compensate"
    assert sent(dtm(op="msg"), b"")[1]["params"]["op"] == "msg"


# -- the answer


@pytest.mark.parametrize(
    ("body", "status", "kind", "text"),
    [
        ('{"jsonrpc":"2.0","id":"1","result":{}}', 200, "succeeded", ""),
        ('{"error":null}', 200, "succeeded", ""),
        ("{}", 200, "succeeded", ""),
        ('{"error":{"code":-32901,"message":"no money"}}', 200, "refused", "no money FAILURE"),
        ('{"error":{"code":-32901.0}}', 200, "refused", " FAILURE"),
        ('{"error":{"code":-32901,"message":{"a":1}}}', 200, "refused", '{"a":1} FAILURE'),
        ('{"error":{"code":-32902,"message":"later"}}', 200, "ongoing", "later"),
        ('{"error":{"code":-32902}}', 200, "ongoing", "ONGOING"),
        ('{"error":{"code":-32603,"message":"x"}}', 200, "unknown", "answered with an error: {"),
        ('{"error":{"code":"-32901"}}', 200, "unknown", "answered with an error"),
        ('{"error":"broken"}', 200, "unknown", 'answered with an error: "broken"'),
        ('{"error":{"code":1,"message":"a FAILURE"}}', 200, "refused", "FAILURE"),
        ('{"error":{"code":1,"message":"ONGOING"}}', 200, "ongoing", "ONGOING"),
        ('{"result":"FAILURE"}', 200, "refused", "FAILURE"),
        ("", 200, "unknown", "answered what is no JSON-RPC answer"),
        ("fine", 200, "unknown", "answered what is no JSON-RPC answer"),
        ("[]", 200, "unknown", "answered what is no JSON-RPC answer"),
        ("{}", 409, "refused", "{} FAILURE"),
        ("{}", 425, "ongoing", "{}"),
        ('{"error":{"code":-32901}}', 500, "unknown", "answered 500"),
    ],
)
def test_what_an_answer_means(body: str, status: int, kind: str, text: str) -> None:
    outcome = outcome_of(dtm(), answer(body, status))
    assert outcome.kind == kind
    assert text in str(outcome.error or "")
    expected = {"succeeded": type(None), "refused": Refused, "ongoing": Ongoing, "unknown": StepFault}[kind]
    assert type(outcome.error) is expected


def test_the_result_is_what_the_step_returns() -> None:
    assert outcome_of(json_rpc("http://h", method="m", result=int), answer('{"result":3}')).value == b"3"
    assert outcome_of(json_rpc("http://h", method="m"), answer("{}")).value == b"null"
    misfit = outcome_of(json_rpc("http://h", method="m", result=int), answer('{"result":"x"}'))
    assert misfit.kind == "unknown"
    assert isinstance(misfit.error, PayloadError)


async def test_what_a_compensation_answers_is_nobodys_business() -> None:
    target = json_rpc("http://h", method="m", result=int)
    call = target.call(())
    command = Compensate(call=call, where="", retry=Retry(), step=call)
    attempt = Attempt(gid="g", address="0/c", number=1, command=command)
    outcome = await perform_json_rpc(target, attempt, Transport(answer('{"result":"x"}')), default_timeout_s=3)
    assert outcome == Outcome(kind="succeeded")


async def test_nobody_there_is_a_fault_in_the_transports_words() -> None:
    outcome = await performed(dtm(), Transport(HttpFault("connect to busi:80: refused")), b"{}")
    assert outcome.kind == "unknown"
    assert str(outcome.error) == "connect to busi:80: refused"


async def test_a_late_answer_is_a_timeout(autojump_clock: trio.testing.MockClock) -> None:
    class Silent:
        async def send(self, request: HttpRequest) -> HttpResponse:
            await trio.sleep_forever()
            raise AssertionError

    outcome = await perform_json_rpc(dtm(), attempt_at(dtm(), b"{}"), Silent(), default_timeout_s=3)
    assert isinstance(outcome.error, StepTimeout)
    assert outcome.error.message == f"{URL} did not answer within 3 s"


@given(st.binary(max_size=200) | st.from_regex(r'\{"error":.{0,40}\}', fullmatch=True).map(str.encode))
def test_whatever_comes_back_has_one_outcome(body: bytes) -> None:
    outcome = outcome_of(dtm(), HttpResponse(status=200, headers=(), body=body))
    assert (outcome.error is None) == (outcome.kind == "succeeded")


@given(st.binary(max_size=200))
def test_whatever_the_payload_it_is_sent_with_the_facts_or_refused(payload: bytes) -> None:
    transport = Transport(answer("{}"))

    async def main() -> Outcome:
        return await performed(dtm(), transport, payload)

    outcome = trio.run(main)
    if outcome.kind == "succeeded":
        assert FACTS.items() <= msgspec.json.decode(transport.requests[0].body)["params"].items()
    else:
        assert "cannot be called over JSON-RPC" in str(outcome.error)
