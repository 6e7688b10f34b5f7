"""Whatever comes over the wire is answered in the protocol's words, and the server is well afterwards.

The law of this file: no answer says that the server met something nobody foresaw, and none has a status that the
protocol has no use for. What the server then does with transactions that were taken is other tests' business.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Generator
from typing import Any, cast
from urllib.parse import quote, urlsplit

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compat.dtm import API, Dtm
from tests.compat.server import NOT_FORESEEN, foreign_server, running_server

pytestmark = pytest.mark.timeout(1800)  # of the night's profile, which draws thousands

ANSWER_MAX_S = 20
INTERNAL = "internal error"
"""What the server says of an error that nobody foresaw."""

POSTS = ("submit", "prepare", "abort", "forceStop", "resetNextCronTime", "prepareWorkflow")
BRANCHES = ("registerBranch", "registerTccBranch", "registerXaBranch")
GETS = ("query", "all", "subscribe", "unsubscribe", "queryKV", "scanKV", "resetCronTime")
STATUSES = {200, 409, 425, 500}
FIELDS = (
    *("gid", "trans_type", "steps", "payloads", "custom_data", "query_prepared", "protocol", "rollback_reason"),
    *("req_extra", "wait_result", "timeout_to_fail", "request_timeout", "retry_interval", "branch_headers"),
    *("concurrent", "retry_limit", "branch_id", "data", "confirm", "cancel", "url", "op", "status", "context"),
)
PARAMETERS = (
    *("gid", "position", "limit", "status", "transType", "createTimeStart", "createTimeEnd"),
    *("topic", "url", "remark", "cat", "key", "timeout"),
)
TYPES = ("saga", "tcc", "xa", "msg", "workflow", "", "nonsense")

texts = st.text(max_size=20) | st.sampled_from(["http://127.0.0.1:1/a", "127.0.0.1:1/S/M", "topic://t", "FAILURE"])
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    nested,
    max_leaves=8,
)
plausible = st.fixed_dictionaries(
    {"gid": texts, "trans_type": st.sampled_from(TYPES)},
    optional={
        "steps": st.lists(st.dictionaries(st.sampled_from(["action", "compensate", "data"]), texts), max_size=4),
        "payloads": st.lists(texts, max_size=4),
        "custom_data": texts
        | st.builds(
            json.dumps, st.fixed_dictionaries({}, optional={"orders": values, "concurrent": values, "delay": values})
        ),
        "branch_headers": st.dictionaries(texts, texts, max_size=3),
        "req_extra": st.dictionaries(st.sampled_from(["status", "result", "rollback_reason"]), texts),
        "protocol": st.sampled_from(["http", "grpc", "json-rpc", "", "x"]),
        "timeout_to_fail": st.integers(-5, 2**40),
        "retry_interval": st.integers(-5, 2**40),
        "request_timeout": st.integers(-5, 1),
        "retry_limit": st.integers(-5, 2),
        "branch_id": texts,
        "op": texts,
    },
)
objects = st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=8)


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


bodies = st.binary(max_size=60) | (plausible | objects | values).map(as_json)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, front: dict[str, object]) -> Generator[Dtm]:
    """A server of its own: what is left unfinished here ends with it."""
    if foreign := foreign_server():
        yield foreign
        return
    with running_server(tmp_path_factory.mktemp("fuzzed"), {**front, "log_level": "error"}) as dtm:
        yield dtm


@pytest.fixture(scope="module")
def connection(server: Dtm) -> Generator[http.client.HTTPConnection]:
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=ANSWER_MAX_S)
    yield connection
    connection.close()


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def check(status: int, body: bytes, statuses: set[int]) -> None:
    """An answer of the protocol: one of its statuses, and a body of JSON."""
    assert status in statuses, (status, body)
    said = cast("dict[str, object]", json.loads(body))
    message = str(said.get("message", ""))
    assert INTERNAL not in message
    assert NOT_FORESEEN not in message
    if status == 500:
        assert list(said) == ["message"]
        assert message, "an error says what is wrong"


@given(operation=st.sampled_from(POSTS), body=bodies)
def test_any_body_is_answered_in_the_protocols_words(
    connection: http.client.HTTPConnection, operation: str, body: bytes
) -> None:
    check(*ask(connection, "POST", f"{API}/{operation}", body), STATUSES)


@given(operation=st.sampled_from(BRANCHES), body=bodies)
def test_any_branch_is_answered_in_the_protocols_words(
    connection: http.client.HTTPConnection, operation: str, body: bytes
) -> None:
    check(*ask(connection, "POST", f"{API}/{operation}", body), STATUSES | {400})


@given(
    operation=st.sampled_from(GETS),
    query=st.dictionaries(st.sampled_from(PARAMETERS), texts | st.integers(-(2**70), 2**70).map(str), max_size=6)
    | st.binary(max_size=30),
)
def test_any_query_is_answered_in_the_protocols_words(
    connection: http.client.HTTPConnection, operation: str, query: dict[str, str] | bytes
) -> None:
    if isinstance(query, bytes):
        given_as = quote(query, safe="&=%+")
    else:
        given_as = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    check(*ask(connection, "GET", f"{API}/{operation}?{given_as}"), STATUSES)


@given(name=st.text(max_size=20))
def test_any_topic_is_deleted_or_not_there(connection: http.client.HTTPConnection, name: str) -> None:
    status, body = ask(connection, "DELETE", f"{API}/topic/{quote(name, safe='')}")
    if status not in (404, 307):  # an empty name, or one with a slash, is no topic's path
        check(status, body, STATUSES)


@given(
    envelope=st.fixed_dictionaries(
        {},
        optional={
            "jsonrpc": st.just("2.0") | values,
            "method": st.sampled_from(["newGid", "prepare", "submit", "abort", "registerBranch"]) | values,
            "params": plausible | values,
            "id": st.just("an id") | values,
        },
    )
    | bodies
)
def test_any_json_rpc_call_is_answered_in_the_protocols_words(
    connection: http.client.HTTPConnection, envelope: dict[str, Any] | bytes
) -> None:
    body = envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode()
    status, answered = ask(connection, "POST", "/api/json-rpc", body)
    said = json.loads(answered)
    assert list(said) == ["error", "id", "jsonrpc", "result"]
    if said["error"] is not None:
        assert said["error"]["code"] in (-32700, -32600, -32601, -32603, -32901)
        assert INTERNAL not in said["error"]["message"]
    assert status == (400 if said["error"] and said["error"]["code"] == -32700 else 200)


METHODS = ("NewGid", "Submit", "Prepare", "Abort", "RegisterBranch", "PrepareWorkflow", "Subscribe", "Unsubscribe")
CODES = (
    grpc.StatusCode.OK,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
)


@given(method=st.sampled_from(METHODS), body=st.binary(max_size=60))
def test_any_bytes_over_grpc_are_answered_in_the_protocols_words(server: Dtm, method: str, body: bytes) -> None:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel_to(server.grpc).unary_unary(f"/dtmgimp.Dtm/{method}")
    future = call.future(body, timeout=ANSWER_MAX_S)
    future.exception()
    assert future.code() in CODES, future
    assert INTERNAL not in (future.details() or "")


_channels: dict[str, grpc.Channel] = {}


def channel_to(address: str) -> grpc.Channel:
    return _channels.setdefault(address, grpc.insecure_channel(address))


REQUEST = b"POST /api/dtmsvr/submit HTTP/1.1\r\nHost: dtm\r\nContent-Length: 2\r\n\r\n{}"


def spoilt(at: int, put: bytes, cut: int) -> bytes:
    """A request with something put in, and something cut out."""
    return REQUEST[:at] + put + REQUEST[at + cut :]


@given(
    raw=st.binary(max_size=200)
    | st.builds(spoilt, st.integers(0, len(REQUEST)), st.binary(max_size=20), st.integers(0, 20))
)
def test_any_bytes_on_the_wire_leave_the_server_well(
    server: Dtm, connection: http.client.HTTPConnection, raw: bytes
) -> None:
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port or 80), timeout=ANSWER_MAX_S) as stream:
        stream.sendall(raw)
        assert ask(connection, "GET", "/api/ping") == (200, b'{"msg":"pong"}')
