"""A step over HTTP: the request that DTM's participants expect, and what their answers mean (spec 3.1, 3.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

from flowtx_dsl.commands import Compensate, Step
from flowtx_dsl.errors import Ongoing, PayloadError, Refused, StepFault, StepTimeout
from flowtx_dsl.policies import Retry
from flowtx_dsl.remote import http
from flowtx_dsl.targets import HttpTarget
from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.calls.http_request import render_headers
from flowtx_engine.calls.http_step import outcome_of, perform_http, request_of
from flowtx_engine.calls.http_types import HttpFault, HttpRequest, HttpResponse

OK = HttpResponse(status=200, headers=(), body=b"")


@dataclass
class Transport:
    """Answers with what it was given, after so many seconds, and keeps the requests."""

    answer: HttpResponse | Exception = OK
    after_s: float = 0
    requests: list[HttpRequest] = field(default_factory=list[HttpRequest])

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        await trio.sleep(self.after_s)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def answer(status: int = 200, body: bytes | str = b"") -> HttpResponse:
    return HttpResponse(status=status, headers=(), body=body.encode() if isinstance(body, str) else body)


def attempt_at(
    target: HttpTarget[Any], *args: object, gid: str = "g-1", address: str = "0", timeout_s: float | None = None
) -> Attempt:
    command = Step(call=target.call(args), where="", retry=Retry(), timeout_s=timeout_s)
    return Attempt(gid=gid, address=address, number=1, command=command)


def taken_back(target: HttpTarget[Any], *args: object) -> Attempt:
    call = target.call(args)
    return Attempt(
        gid="g-1", address="0/c", number=1, command=Compensate(call=call, where="", retry=Retry(), step=call)
    )


def dtm(url: str = "http://busi/TransOut", **given: Any) -> HttpTarget[None]:
    """A target as DTM's saga makes it."""
    return HttpTarget(url=url, result_type=None, trans_type="saga", **given)


async def performed(target: HttpTarget[Any], attempt: Attempt, transport: Transport) -> Outcome:
    return await perform_http(target, attempt, transport, default_timeout_s=3)


# -- the request


def test_the_four_parameters_follow_in_alphabetical_order() -> None:
    request = request_of(dtm(branch_id="01"), attempt_at(dtm(branch_id="01"), b'{"amount":30}'))
    assert request.method == "POST"
    assert request.url == "http://busi/TransOut?branch_id=01&gid=g-1&op=action&trans_type=saga"
    assert request.body == b'{"amount":30}'


def test_check_86_an_empty_payload_is_a_get() -> None:
    request = request_of(dtm(), attempt_at(dtm(), b""))
    assert (request.method, request.body) == ("GET", b"")


def test_check_87_the_urls_own_query_stays_first_and_its_fragment_at_home() -> None:
    target = dtm("http://busi/TransOut?b=2&a=x%20y&a=1#top")
    assert request_of(target, attempt_at(target, b"x")).url == (
        "http://busi/TransOut?b=2&a=x%20y&a=1&branch_id=0&gid=g-1&op=action&trans_type=saga"
    )
    target = dtm("http://busi?")
    assert request_of(target, attempt_at(target, b"x")).url.startswith("http://busi?branch_id=0&")


def test_parameters_are_form_encoded() -> None:
    request = request_of(dtm(), attempt_at(dtm(), b"x", gid="a b/ü&c=d"))
    assert "gid=a+b%2F%C3%BC%26c%3Dd&" in request.url


def test_checks_88_and_89_headers_are_sent_and_a_content_type_of_their_own_replaces_json() -> None:
    plain = request_of(dtm(), attempt_at(dtm(), b"x"))
    assert plain.headers == (("Content-Type", "application/json"), ("Idempotency-Key", "g-1/0"))
    target = dtm(headers=(("test_header", "test"), ("content-type", "text/plain"), ("IDEMPOTENCY-KEY", "mine")))
    for _ in range(2):  # at submit and again by the loop
        assert request_of(target, attempt_at(target, b"x")).headers == target.headers


def test_a_compensation_says_so_and_keeps_the_steps_branch() -> None:
    request = request_of(dtm(), taken_back(dtm(), b"x"))
    assert request.url.endswith("?branch_id=0&gid=g-1&op=compensate&trans_type=saga")
    assert dict(request.headers)["Idempotency-Key"] == "g-1/0/c"


def test_a_python_steps_request() -> None:
    target = http("https://hotel/book", method="put", headers={"X-Api": "k"}, result=int)
    request = request_of(target, attempt_at(target, {"nights": 2}))
    assert request.method == "PUT"
    assert request.body == b'{"nights":2}'
    assert request.url == "https://hotel/book?branch_id=0&gid=g-1&op=action&trans_type=workflow"
    assert request.headers[-1] == ("X-Api", "k")


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.sampled_from(["http://h", "http://h/p", "http://h/p?a=1", "http://h/p?a=1#f"]),
)
def test_any_gid_can_be_sent_and_read_again(gid: str, url: str) -> None:
    request = request_of(dtm(url), attempt_at(dtm(url), b"x", gid=gid))
    parameters = dict(parse_qsl(urlsplit(request.url).query, keep_blank_values=True))
    assert (parameters["gid"], parameters["branch_id"]) == (gid, "0")
    key = dict(request.headers)["Idempotency-Key"]
    assert key.isascii()
    assert key == key.strip()
    render_headers(request.headers)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
@example("a\n", "a%0A")
def test_two_gids_have_two_keys(one: str, other: str) -> None:
    keys = [dict(request_of(dtm(), attempt_at(dtm(), b"", gid=gid)).headers)["Idempotency-Key"] for gid in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


# -- what an answer means: checks 185 to 192


@pytest.mark.parametrize(
    ("status", "body", "kind", "error"),
    [
        (200, "", "succeeded", None),
        (200, "anything at all", "succeeded", None),
        (200, '{"dtm_result":"SUCCESS"}', "succeeded", None),
        (200, "failure ongoing", "succeeded", None),
        (201, "created", "unknown", StepFault("http://busi/TransOut answered 201: created")),
        (204, "", "unknown", StepFault("http://busi/TransOut answered 204: ")),
        (302, "", "unknown", StepFault("http://busi/TransOut answered 302: ")),
        (404, "no such page", "unknown", StepFault("http://busi/TransOut answered 404: no such page")),
        (500, "oops", "unknown", StepFault("http://busi/TransOut answered 500: oops")),
        (409, "", "refused", Refused(" FAILURE")),
        (409, "too poor", "refused", Refused("too poor FAILURE")),
        (409, " too poor FAILURE\n", "refused", Refused("too poor FAILURE")),
        (409, "FAILURE", "refused", Refused("FAILURE FAILURE")),
        (409, "ONGOING", "ongoing", Ongoing("ONGOING")),
        (425, "", "ongoing", Ongoing("ONGOING")),
        (425, "FAILURE", "ongoing", Ongoing("FAILURE")),
        (200, '{"dtm_result":"ONGOING"}', "ongoing", Ongoing('{"dtm_result":"ONGOING"}')),
        (200, '{"dtm_result":"FAILURE"}', "refused", Refused('{"dtm_result":"FAILURE"} FAILURE')),
        (500, "a FAILURE inside", "refused", Refused("a FAILURE inside FAILURE")),
        (500, "FAILURE and ONGOING", "ongoing", Ongoing("FAILURE and ONGOING")),
    ],
)
def test_what_status_and_words_mean(status: int, body: str, kind: str, error: Exception | None) -> None:
    outcome = outcome_of(dtm(), answer(status, body))
    assert outcome.kind == kind
    assert type(outcome.error) is type(error)
    assert str(outcome.error) == str(error)


@given(
    st.sampled_from([200, 201, 204, 302, 404, 409, 425, 500]),
    st.lists(st.sampled_from([b"FAILURE", b"ONGOING", b"failure", b" ", b"\xff", b"x"]), max_size=4).map(b"".join),
)
def test_the_first_rule_that_fits_decides(status: int, body: bytes) -> None:
    kind = outcome_of(dtm(), answer(status, body)).kind
    if status == 425 or b"ONGOING" in body:
        assert kind == "ongoing"
    elif status == 409 or b"FAILURE" in body:
        assert kind == "refused"
    else:
        assert kind == ("succeeded" if status == 200 else "unknown")


def test_a_long_answer_is_cut_in_the_error() -> None:
    error = outcome_of(dtm(), answer(500, "x" * 100_000)).error
    assert error is not None
    assert len(str(error)) < 5000
    assert str(error).endswith("... (100000 characters in all)")


# -- results of Python steps


@pytest.mark.parametrize(
    ("result", "body", "value"),
    [
        (None, b'{"a": 1}', b'{"a": 1}'),
        (None, b"", b"null"),
        (None, b" \n", b"null"),
        (None, b"plain text", b'"plain text"'),
        (None, b"\xff\xfe", '"\ufffd\ufffd"'.encode()),
        (None, b"NaN", b'"NaN"'),
        (None, b'"\\ud800"', b'"\\"\\\\ud800\\""'),
        (int, b"42", b"42"),
        (str, b"plain text", b'"plain text"'),
        (dict[str, int], b'{"a": 1}', b'{"a": 1}'),
    ],
)
def test_the_answer_is_the_result(result: type[object] | None, body: bytes, value: bytes) -> None:
    outcome = outcome_of(http("http://h", result=result), answer(200, body))
    assert outcome == Outcome(kind="succeeded", value=value)
    msgspec.json.decode(outcome.value)


def test_an_answer_nested_too_deep_is_a_text() -> None:
    body = b"[" * 100_000
    assert outcome_of(http("http://h"), answer(200, body)).value == msgspec.json.encode(body.decode())


def test_an_answer_of_another_type_is_a_payload_error_that_no_retry_mends() -> None:
    outcome = outcome_of(http("http://h", result=int), answer(200, b'"text"'))
    assert outcome.kind == "unknown"
    assert isinstance(outcome.error, PayloadError)
    assert outcome.error.message == "the answer of http://h does not fit int: Expected `int`, got `str`"


async def test_a_compensation_may_answer_anything() -> None:
    # Were it refused for its type, it would be tried again for ever.
    target = http("http://hotel/cancel", result=int)
    outcome = await performed(target, taken_back(target, 1), Transport(answer(200, "cancelled")))
    assert outcome == Outcome(kind="succeeded")


# -- performing


async def test_an_empty_url_is_a_success_without_a_call() -> None:
    transport = Transport()
    assert await performed(dtm(""), attempt_at(dtm(""), b"x"), transport) == Outcome(kind="succeeded")
    assert transport.requests == []


async def test_one_attempt_is_one_request() -> None:
    transport = Transport(answer(500))
    await performed(dtm(), attempt_at(dtm(), b"x"), transport)
    assert len(transport.requests) == 1


async def test_check_90_an_answer_that_takes_too_long_is_a_timeout(autojump_clock: MockClock) -> None:
    outcome = await performed(dtm(), attempt_at(dtm(), b"x", timeout_s=1), Transport(after_s=2))
    assert outcome.kind == "unknown"
    assert isinstance(outcome.error, StepTimeout)
    assert outcome.error.message == "http://busi/TransOut did not answer within 1 s"
    assert trio.current_time() == 1


async def test_check_91_the_steps_time_counts_and_not_the_default(autojump_clock: MockClock) -> None:
    outcome = await performed(dtm(), attempt_at(dtm(), b"x", timeout_s=6), Transport(after_s=4))
    assert outcome.kind == "succeeded"
    assert (await performed(dtm(), attempt_at(dtm(), b"x"), Transport(after_s=4))).kind == "unknown"


async def test_no_answer_is_a_fault() -> None:
    fault = HttpFault("connect to busi:80: refused")
    outcome = await performed(dtm(), attempt_at(dtm(), b"x"), Transport(fault))
    assert outcome.kind == "unknown"
    assert type(outcome.error) is StepFault
    assert str(outcome.error) == "connect to busi:80: refused"
    assert outcome.error.__cause__ is fault


@pytest.mark.parametrize("url", ["http://[::1", "busi/TransOut", "http://", "http://h:port/", "http://\ud800/"])
async def test_a_url_that_cannot_be_called_is_a_fault_and_never_an_error_of_the_engine(url: str) -> None:
    class Picky(Transport):
        async def send(self, request: HttpRequest) -> HttpResponse:
            raise ValueError("what URL is that")

    outcome = await performed(dtm(url), attempt_at(dtm(url), b"x"), Picky())
    assert outcome.kind == "unknown"
    assert isinstance(outcome.error, StepFault)


async def test_cancelling_an_attempt_ends_it_without_an_outcome() -> None:
    outcomes: list[Outcome] = []
    with trio.move_on_after(0.0) as scope:
        outcomes.append(await performed(dtm(), attempt_at(dtm(), b"x"), Transport(after_s=1)))
    assert (scope.cancelled_caught, outcomes) == (True, [])
