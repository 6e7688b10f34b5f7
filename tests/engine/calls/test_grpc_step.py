"""A step over gRPC: the call that DTM's participants expect, and what their statuses mean (spec 3.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st

from flowtx_dsl.commands import Compensate, Step
from flowtx_dsl.errors import Ongoing, PayloadError, Refused, StepFault, StepTimeout
from flowtx_dsl.policies import Retry
from flowtx_dsl.remote import grpc, participant_target
from flowtx_dsl.targets import GrpcTarget
from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.calls.grpc_step import outcome_of, perform_grpc, request_of
from flowtx_engine.calls.grpc_types import GrpcFault, GrpcRequest, GrpcResponse, ReplyTooLong

URL = "busi:50589/busi.Busi/TransOut"

OK = GrpcResponse(status="OK")


@dataclass
class Transport:
    """Answers with what it was given, and keeps the requests and how long they were given."""

    answer: GrpcResponse | Exception = OK
    requests: list[GrpcRequest] = field(default_factory=list[GrpcRequest])
    timeouts_s: list[float] = field(default_factory=list[float])

    async def call(self, request: GrpcRequest, *, timeout_s: float) -> GrpcResponse:
        self.requests.append(request)
        self.timeouts_s.append(timeout_s)
        await trio.lowlevel.checkpoint()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def dtm(url: str = URL, **given: Any) -> GrpcTarget[None]:
    return GrpcTarget(url=url, trans_type="saga", branch_id="01", result_type=None, **given)


def attempt_at(target: GrpcTarget[Any], *args: object, gid: str = "g-1", timeout_s: float | None = None) -> Attempt:
    command = Step(call=target.call(args), where="", retry=Retry(), timeout_s=timeout_s)
    return Attempt(gid=gid, address="0", number=1, command=command)


def taken_back(target: GrpcTarget[Any], *args: object) -> Attempt:
    call = target.call(args)
    command = Compensate(call=call, where="", retry=Retry(), step=call)
    return Attempt(gid="g-1", address="0/c", number=1, command=command)


async def performed(target: GrpcTarget[Any], attempt: Attempt, transport: Transport) -> Outcome:
    return await perform_grpc(target, attempt, transport, default_timeout_s=3)


# -- the call


def test_check_167_the_five_facts_come_first_then_the_key_then_the_branch_headers() -> None:
    target = dtm(headers=(("Test_Header", "test"), ("raw-bin", "\xff")))
    request = request_of(target, attempt_at(target, b"\x00payload"))
    assert (request.host, request.method, request.body) == ("busi:50589", "/busi.Busi/TransOut", b"\x00payload")
    assert request.metadata == (
        ("dtm-gid", "g-1"),
        ("dtm-trans_type", "saga"),
        ("dtm-branch_id", "01"),
        ("dtm-op", "action"),
        ("dtm-dtm", ""),
        ("idempotency-key", "g-1/0"),
        ("test_header", "test"),
        ("raw-bin", b"\xc3\xbf"),
    )


def test_a_key_of_their_own_replaces_the_steps() -> None:
    target = dtm(headers=(("Idempotency-Key", "mine"),))
    metadata = request_of(target, attempt_at(target)).metadata
    assert [value for name, value in metadata if name == "idempotency-key"] == ["mine"]


def test_a_compensation_says_so_and_another_op_can_be_named() -> None:
    assert ("dtm-op", "compensate") in request_of(dtm(), taken_back(dtm(), b"")).metadata
    assert ("idempotency-key", "g-1/0/c") in request_of(dtm(), taken_back(dtm(), b"")).metadata
    target = participant_target("grpc", URL, trans_type="tcc", branch_id="0201", op="confirm")
    assert isinstance(target, GrpcTarget)
    metadata = dict(request_of(target, attempt_at(target, b"x")).metadata)
    assert (metadata["dtm-op"], metadata["dtm-branch_id"], metadata["dtm-trans_type"]) == ("confirm", "0201", "tcc")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("busi:50589", "there is no '/' in it"),
        ("etcd://busi/busi.Busi/TransOut", "its scheme is not known"),
        ("/busi.Busi/TransOut", "there is no host in it"),
    ],
)
async def test_check_169_a_target_of_another_form_is_a_fault_and_not_called(url: str, text: str) -> None:
    transport = Transport()
    outcome = await performed(dtm(url), attempt_at(dtm(url), b"x"), transport)
    assert outcome.kind == "unknown"
    assert isinstance(outcome.error, StepFault)
    assert outcome.error.message == (f"{url} cannot be called over gRPC: {text}; expected host:port/Service/Method")
    assert transport.requests == []


async def test_check_170_an_empty_target_is_done_without_a_call() -> None:
    transport = Transport()
    assert await performed(dtm(""), attempt_at(dtm(""), b"x"), transport) == Outcome(kind="succeeded")
    assert transport.requests == []


@pytest.mark.parametrize(
    ("gid", "headers", "text"),
    [
        ("gü", (), "dtm-gid is 'g\\xfc', and metadata can hold nothing but printable ASCII characters"),
        ("g\n", (), "dtm-gid is 'g\\n'"),
        ("g", (("x y", "1"),), "'x y' is the name of a header, and metadata can hold nothing but letters"),
        ("g", ((":path", "1"),), "':path' is the name of a header"),
        ("g", (("", "1"),), "'' is the name of a header"),
        ("g", (("x", "\x7f"),), "x is '\\x7f'"),
    ],
)
async def test_what_no_metadata_can_hold_is_a_clear_fault(
    gid: str, headers: tuple[tuple[str, str], ...], text: str
) -> None:
    transport = Transport()
    outcome = await performed(dtm(headers=headers), attempt_at(dtm(headers=headers), b"x", gid=gid), transport)
    assert outcome.kind == "unknown"
    assert text in str(outcome.error)
    assert transport.requests == []


async def test_the_participant_is_told_how_long_it_has() -> None:
    transport = Transport()
    await performed(dtm(), attempt_at(dtm(), b"x", timeout_s=7), transport)
    await performed(dtm(), attempt_at(dtm(), b"x"), transport)
    assert transport.timeouts_s == [7, 3]


# -- the status


@pytest.mark.parametrize(
    ("status", "details", "kind", "text"),
    [
        ("OK", "", "succeeded", ""),
        ("ABORTED", "no money", "refused", "no money FAILURE"),
        ("ABORTED", "no money FAILURE", "refused", "no money FAILURE"),
        ("ABORTED", "", "refused", " FAILURE"),
        ("ABORTED", "ONGOING", "ongoing", "ONGOING"),
        ("ABORTED", "still ONGOING", "refused", "still ONGOING FAILURE"),
        ("FAILED_PRECONDITION", "later", "ongoing", "later"),
        ("FAILED_PRECONDITION", "", "ongoing", "ONGOING"),
        ("INTERNAL", "FAILURE", "unknown", f"{URL} ended in INTERNAL: FAILURE"),
        ("UNKNOWN", "ONGOING", "unknown", f"{URL} ended in UNKNOWN: ONGOING"),
        ("UNAVAILABLE", "refused", "unknown", f"{URL} ended in UNAVAILABLE: refused"),
    ],
)
async def test_check_166_what_a_status_means(status: str, details: str, kind: str, text: str) -> None:
    transport = Transport(GrpcResponse(status=status, details=details))
    outcome = await performed(dtm(), attempt_at(dtm(), b"x"), transport)
    assert (outcome.kind, str(outcome.error or "")) == (kind, text)
    expected = {"succeeded": type(None), "refused": Refused, "ongoing": Ongoing, "unknown": StepFault}[kind]
    assert type(outcome.error) is expected


async def test_a_deadline_is_a_timeout() -> None:
    transport = Transport(GrpcResponse(status="DEADLINE_EXCEEDED", details="Deadline Exceeded"))
    outcome = await performed(dtm(), attempt_at(dtm(), b"x", timeout_s=0.5), transport)
    assert isinstance(outcome.error, StepTimeout)
    assert outcome.error.message == f"{URL} did not answer within 0.5 s"


async def test_what_could_not_be_tried_is_said_in_the_transports_words() -> None:
    outcome = await performed(dtm(), attempt_at(dtm(), b"x"), Transport(GrpcFault("the engine is shutting down")))
    assert (outcome.kind, str(outcome.error)) == ("unknown", "the engine is shutting down")


async def test_a_reply_too_long_is_given_up_when_it_was_wanted_and_a_fault_when_not() -> None:
    transport = Transport(ReplyTooLong("the reply is longer than 10 bytes"))
    wanted = await performed(grpc(URL), attempt_at(grpc(URL)), transport)
    assert isinstance(wanted.error, PayloadError)
    assert wanted.error.message == "the reply is longer than 10 bytes (payload_bytes_max)"
    for target, attempt in ((dtm(), attempt_at(dtm(), b"x")), (grpc(URL), taken_back(grpc(URL)))):
        outcome = await performed(target, attempt, transport)
        assert (outcome.kind, type(outcome.error)) == ("unknown", StepFault)


@pytest.mark.parametrize(
    ("result", "reply", "value"),
    [
        (None, b"\x00\xff", b'"AP8="'),
        (bytes, b"", b'""'),
        (StringValue, b"\n\x03ann", b'"CgNhbm4="'),
        (StringValue, b"", b'""'),
        (int, b"3", b"3"),
        (dict, b'{"a":1}', b'{"a":1}'),
    ],
)
def test_a_reply_is_what_the_step_returns(result: Any, reply: bytes, value: bytes) -> None:
    target = grpc(URL, result=result)
    outcome = outcome_of(target, GrpcResponse(status="OK", body=reply))
    assert outcome == Outcome(kind="succeeded", value=value)


@pytest.mark.parametrize(("result", "reply"), [(int, b'"x"'), (int, b"\xff"), (int, b""), (StringValue, b"\n\x09ann")])
async def test_a_reply_that_does_not_fit_is_a_fault_but_not_of_a_compensation(result: Any, reply: bytes) -> None:
    target: GrpcTarget[Any] = grpc(URL, result=result)
    transport = Transport(GrpcResponse(status="OK", body=reply))
    outcome = await performed(target, attempt_at(target), transport)
    assert outcome.kind == "unknown"
    assert isinstance(outcome.error, PayloadError)
    assert f"the answer of {URL} does not fit" in outcome.error.message
    assert await performed(target, taken_back(target), transport) == Outcome(kind="succeeded")


@given(st.sampled_from(["OK", "ABORTED", "FAILED_PRECONDITION", "INTERNAL"]), st.text(), st.binary())
def test_whatever_comes_back_has_one_outcome(status: str, details: str, body: bytes) -> None:
    outcome = outcome_of(grpc(URL, result=dict[str, Any]), GrpcResponse(status=status, details=details, body=body))
    assert (outcome.error is None) == (outcome.kind == "succeeded")
