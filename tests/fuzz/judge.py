"""Whether an answer is one that the protocol names (spec 2.2, 2.6, 2.7), and shows nothing of the server's inside.

The law of this file: it says what is wrong in a few words, or nothing; requests may be anything.
"""

from __future__ import annotations

import json
import re
from typing import cast

import grpc

from tests.compat.inside import INSIDE

HTTP_STATUSES = frozenset({200, 301, 307, 400, 404, 405, 408, 409, 411, 413, 414, 425, 431, 500, 501, 503})
"""What the protocol and HTTP itself have; 500 and 503 only with a message."""
RPC_CODES = frozenset({-32700, -32600, -32601, -32603, -32901, -32902})
CODES = frozenset(
    {
        grpc.StatusCode.OK,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.NOT_FOUND,  # of the health service: a service that is not served
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNKNOWN,
    }
)
"""What the protocol and gRPC itself have. UNAVAILABLE is none: the server is there, and not overloaded."""
RESULT = "unkown result will be retried"
"""What stands in the words of ``wait_result``, whose code over gRPC is the participant's, whatever it is (spec 2.7)."""
PAGES = ("/openapi.json", "/docs", "/api/metrics")
STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")


def shows_the_inside(said: bytes) -> bool:
    """Whether these bytes show something of the server's inside."""
    return INSIDE.search(said.decode("latin-1")) is not None


def wrong_with_http(path: str, status: int, body: bytes) -> str:
    """What is wrong with an answer over HTTP, "" for nothing."""
    if status not in HTTP_STATUSES:
        return f"a status that nobody names: {status}"
    if path not in PAGES and shows_the_inside(body):
        return "an answer shows the inside"
    if status in (500, 503):
        return _wrong_with_error(body)
    return ""


def _wrong_with_error(body: bytes) -> str:
    try:
        said: object = json.loads(body)
    except ValueError:
        return "an error that is no JSON"
    if not isinstance(said, dict) or list(cast("dict[str, object]", said)) != ["message"] or not said["message"]:
        return "an error without a message"
    return ""


def wrong_with_raw(received: bytes) -> str:
    """What is wrong with whatever a connection brought, "" for nothing."""
    if not received.startswith(b"HTTP/1.1 "):  # nothing, or HTTP/2
        return "an answer shows the inside" if shows_the_inside(received) else ""
    statuses = {int(status) for status in STATUS_LINE.findall(received)}
    if unknown := statuses - HTTP_STATUSES - {100, 101}:
        return f"a status that nobody names: {min(unknown)}"
    if statuses & {500, 503} and b'{"message":"' not in received:
        return "an error without a message"
    if b"openapi" not in received and shows_the_inside(received):
        return "an answer shows the inside"
    return ""


def wrong_with_rpc(status: int, body: bytes) -> str:
    """What is wrong with an answer over JSON-RPC, "" for nothing."""
    if status not in (200, 400):
        return wrong_with_http("/api/json-rpc", status, body)
    said: dict[str, dict[str, object] | None] = json.loads(body)
    if list(said) != ["error", "id", "jsonrpc", "result"]:
        return "an answer that is none of JSON-RPC"
    error = said["error"]
    if error is not None and error["code"] not in RPC_CODES:
        return f"a code that nobody names: {error['code']}"
    return "an answer shows the inside" if shows_the_inside(body) else ""


def wrong_with_grpc(code: grpc.StatusCode, details: str) -> str:
    """What is wrong with how a gRPC call ended, "" for nothing."""
    if code not in CODES and RESULT not in details:
        return f"a code that nobody names: {code.name}"
    return "an answer shows the inside" if INSIDE.search(details) else ""
