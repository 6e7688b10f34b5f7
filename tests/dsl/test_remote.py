"""Remote participants: what names one, how arguments travel to it, and DTM's rule of transports (spec 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue, StringValue
from hypothesis import given
from hypothesis import strategies as st

from flowtx_dsl.errors import PayloadError, WorkflowError
from flowtx_dsl.remote import grpc, http, json_rpc, participant_target, workflow_callback_body
from flowtx_dsl.targets import GrpcTarget, HttpTarget, JsonRpcTarget, RemoteTarget, step_target_of, target_of

GRPC_URL = "hotel:50051/hotel.Hotel/Book"


@dataclass
class Booking:
    nights: int


def test_every_remote_target_can_be_a_step_and_a_compensation() -> None:
    targets: list[RemoteTarget[Any]] = [http("http://h"), grpc(GRPC_URL), json_rpc("http://h", method="m")]
    for target in targets:
        assert step_target_of(target) is target
        assert target_of(target) is target
        assert target.name == target.url


# -- gRPC


def test_grpc_bodies_none_one_many_bytes_and_messages() -> None:
    target = grpc(GRPC_URL)
    none, one, many = (target.call(args) for args in ((), (Booking(2),), (1, "b")))
    assert (none.payload, none.body) == (b"[]", b"")
    assert (one.payload, one.body) == (b'[{"nights":2}]', b'{"nights":2}')
    assert (many.payload, many.body) == (b'[1,"b"]', b'[1,"b"]')
    raw, message = target.call((b"\x00\xff",)), target.call((StringValue(value="ann"),))
    assert (raw.payload, raw.body) == (b'["\\u0000\\\\xff"]', b"\x00\xff")
    assert (message.payload, message.body) == (b'["\\n\\u0003ann"]', b"\n\x03ann")


def test_a_message_among_other_arguments_travels_in_base_64() -> None:
    assert grpc(GRPC_URL).call((StringValue(value="ann"), 2)).body == b'["CgNhbm4=",2]'


def test_a_grpc_result_is_bytes_a_message_or_what_json_holds() -> None:
    assert grpc(GRPC_URL).result.decode(b'"AAE="', what="r") == b"\x00\x01"
    assert grpc(GRPC_URL, result=StringValue).result.decode(b'"CgNhbm4="', what="r") == StringValue(value="ann")
    assert grpc(GRPC_URL, result=Booking).result.decode(b'{"nights":2}', what="r") == Booking(2)
    for broken in (b'"CgNh"', b'"!"', b"3"):
        with pytest.raises(PayloadError, match="r does not fit StringValue"):
            grpc(GRPC_URL, result=StringValue).result.decode(broken, what="r")


@pytest.mark.parametrize(
    "url", ["", "hotel:50051", "hotel:50051/", "hotel:50051/Book", "/hotel.Hotel/Book", "http://hotel/Hotel/Book"]
)
def test_a_grpc_url_of_another_form_is_refused_with_the_right_one(url: str) -> None:
    with pytest.raises(WorkflowError, match=r"for example hotel:50051/hotel\.Hotel/Book") as caught:
        grpc(url)
    assert caught.value.message == f"flowtx.grpc({url!r}): this is no method that can be called"


# -- JSON-RPC


def test_json_rpc_takes_one_object_or_none() -> None:
    target = json_rpc("http://hotel/rpc", method="book")
    assert [target.call(args).body for args in ((), (Booking(2),), ({"a": 1},), (None,), (b"[1]",))] == [
        b"",
        b'{"nights":2}',
        b'{"a":1}',
        b"null",
        b"[1]",
    ]


@pytest.mark.parametrize(
    ("args", "found"), [(([1],), "list"), ((3,), "int"), (("a",), "str"), (({"a": 1}, {"b": 2}), "2 arguments")]
)
def test_json_rpc_arguments_that_are_no_object_are_refused_as_they_are_asked(args: tuple[Any, ...], found: str) -> None:
    with pytest.raises(PayloadError, match=f"takes one JSON object, got {found}"):
        json_rpc("http://hotel/rpc", method="book").call(args)


def test_json_rpc_needs_a_url_and_a_method() -> None:
    with pytest.raises(WorkflowError, match="the URL has no scheme that can be called"):
        json_rpc("hotel/rpc", method="book")
    with pytest.raises(WorkflowError, match="the method is empty"):
        json_rpc("http://hotel/rpc", method="")


MAKERS: list[Callable[[type[object]], RemoteTarget[object]]] = [
    lambda result: http("http://h", result=result),
    lambda result: grpc(GRPC_URL, result=result),
    lambda result: json_rpc("http://h", method="m", result=result),
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_result_that_cannot_be_journaled_is_refused_at_once(
    make: Callable[[type[object]], RemoteTarget[object]],
) -> None:
    with pytest.raises(WorkflowError, match="its result is annotated Path, but a Path cannot be journaled"):
        make(Path)


# -- DTM's rule


@pytest.mark.parametrize(
    ("protocol", "url", "expected"),
    [
        ("", "http://h/a", HttpTarget),
        ("http", "h/a", HttpTarget),
        ("http", "http://h/a?method=m", HttpTarget),
        ("grpc", "https://h/a", HttpTarget),
        ("grpc", "http://h/a?method=m", HttpTarget),
        ("grpc", "h:1/S/M", GrpcTarget),
        ("json-rpc", "http://h/a?method=m", JsonRpcTarget),
        ("json-rpc", "http://h/methods", JsonRpcTarget),
        ("json-rpc", "http://h/a", HttpTarget),
        ("json-rpc", "h:1/S/M", GrpcTarget),
        ("json-rpc", "h:1/S/method", GrpcTarget),
        ("anything", "h:1/S/M", GrpcTarget),
        ("anything", "http://h/a", HttpTarget),
        ("grpc", "", HttpTarget),
        ("json-rpc", "", HttpTarget),
    ],
)
def test_the_transport_follows_protocol_and_url(protocol: str, url: str, expected: type[object]) -> None:
    target = participant_target(protocol, url, trans_type="tcc", branch_id="02", op="confirm", headers=(("a", "b"),))
    assert type(target) is expected
    assert (target.url, target.trans_type, target.branch_id, target.op) == (url, "tcc", "02", "confirm")
    assert target.headers == (("a", "b"),)
    assert target.result_type is None


@pytest.mark.parametrize(
    ("url", "method"),
    [("http://h/a?x=1&method=m%20n&method=o", "m n"), ("http://h/methods", ""), ("http://[h/?method=m", "")],
)
def test_a_json_rpc_method_is_the_urls_query_parameter(url: str, method: str) -> None:
    target = participant_target("json-rpc", url, trans_type="msg", branch_id="01")
    assert isinstance(target, JsonRpcTarget)
    assert target.method == method


def test_an_xa_participant_is_posted_to_though_nothing_is_sent() -> None:
    methods = [participant_target("", "http://h", trans_type=kind, branch_id="01") for kind in ("xa", "saga")]
    assert [target.method for target in methods if isinstance(target, HttpTarget)] == ["POST", ""]


@given(st.text(), st.text())
def test_no_protocol_and_url_is_without_a_target(protocol: str, url: str) -> None:
    target = participant_target(protocol, url, trans_type="saga", branch_id="01")
    assert target.call((b"{}",)).body == b"{}"


@given(st.binary(max_size=20_000))
def test_a_workflows_callback_over_grpc_is_a_message_with_one_field_of_bytes(data: bytes) -> None:
    # BytesValue has the same form: field 1, bytes.
    assert workflow_callback_body("grpc", data) == BytesValue(value=data).SerializeToString()
    assert workflow_callback_body("http", data) == data
