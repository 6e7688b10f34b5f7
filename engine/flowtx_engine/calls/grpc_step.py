"""Performing a step over gRPC: the call as DTM's participants expect it, and what its status means (spec 3.4).

The law of this file: it decides and does not wait; ``perform_grpc`` is the one function that does. The library is not
needed here: it is loaded by whoever makes the first call.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from flowtx_dsl.errors import Ongoing, PayloadError, StepFault
from flowtx_dsl.targets import GrpcTarget
from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.calls.grpc_types import GrpcFault, GrpcRequest, GrpcResponse, GrpcTransport, ReplyTooLong
from flowtx_engine.calls.passing import passed_beside
from flowtx_engine.calls.remote import (
    TOO_LONG_REMEDY,
    as_asked,
    ask_in_time,
    cut,
    facts_of,
    idempotency_key_of,
    out_of_time,
    refused,
    succeeded,
)

KEY_NAME = "idempotency-key"

_ENDED = " ended in "
_FAULTS = [
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]
"""The statuses that say nothing of what a participant did; a call out of time has a text of its own."""
_ENDED_IN = re.compile(rf"\S/\S+{_ENDED}({'|'.join(_FAULTS)}): ")
_NAME = re.compile(r"[0-9a-z_.-]+")


async def perform_grpc(
    target: GrpcTarget[Any], attempt: Attempt, transport: GrpcTransport, *, default_timeout_s: float
) -> Outcome:
    """Make the step's call once and say what became of it; never raises but when it is cancelled."""
    asked = as_asked(target, attempt)

    async def ask(timeout_s: float) -> Outcome:
        try:
            response = await transport.call(request_of(target, attempt), timeout_s=timeout_s)
        except ReplyTooLong as fault:
            if asked.result_type is None:
                raise  # nobody reads it: a fault like any other, as over HTTP
            raise PayloadError(f"{fault} (payload_bytes_max)", remedy=TOO_LONG_REMEDY) from fault
        if response.status == "DEADLINE_EXCEEDED":
            return out_of_time(target, timeout_s)
        return outcome_of(asked, response)

    return await ask_in_time(target, attempt, ask, default_timeout_s=default_timeout_s, own_faults=GrpcFault)


def request_of(target: GrpcTarget[Any], attempt: Attempt) -> GrpcRequest:
    """The request of an attempt; raises ``GrpcFault`` for a target or a gid that cannot be sent."""
    host, method = split_target(target.url)
    return GrpcRequest(host=host, method=method, metadata=metadata_of(target, attempt), body=attempt.command.call.body)


def split_target(url: str) -> tuple[str, str]:
    """Host and port, and the method's path; raises ``GrpcFault`` for a URL of another form, as DTM does."""
    if "://" in url:
        raise GrpcFault(f"{url} cannot be called over gRPC: its scheme is not known; expected host:port/Service/Method")
    host, slash, method = url.partition("/")
    if not slash or not host:
        missing = "no host in it" if slash else "no '/' in it"
        raise GrpcFault(f"{url} cannot be called over gRPC: there is {missing}; expected host:port/Service/Method")
    return host, f"/{method}"


def metadata_of(target: GrpcTarget[Any], attempt: Attempt) -> tuple[tuple[str, str | bytes], ...]:
    """DTM's metadata, then the key, then the target's own headers, whose names gRPC wants in lower case."""
    facts = facts_of(target, attempt)
    own = tuple((name.lower(), value) for name, value in passed_beside(target.headers) + target.headers)
    dtm = [(f"dtm-{name}", facts[name]) for name in ("gid", "trans_type", "branch_id", "op")]
    dtm.append(("dtm-dtm", ""))  # always there, and empty when the call comes from the server
    if KEY_NAME not in {name for name, _ in own}:
        dtm.append((KEY_NAME, idempotency_key_of(attempt)))
    for name, value in (*dtm, *own):
        _check_metadata(target, name, value)
    return tuple((name, value.encode() if name.endswith("-bin") else value) for name, value in (*dtm, *own))


def _check_metadata(target: GrpcTarget[Any], name: str, value: str) -> None:
    """Raise ``GrpcFault`` for what the library refuses without saying why."""
    if _NAME.fullmatch(name) is None:
        found, wanted = f"{name!a} is the name of a header", "letters, digits and '-_.'"
    elif not name.endswith("-bin") and not (value.isascii() and value.isprintable()):
        found, wanted = f"{name} is {value!a}", "printable ASCII characters"
    else:
        return
    raise GrpcFault(f"{target.url} cannot be called over gRPC: {found}, and metadata can hold nothing but {wanted}")


def outcome_of(target: GrpcTarget[Any], response: GrpcResponse) -> Outcome:
    """What a status means; words are looked for in no text but that of ABORTED, which old participants use for both."""
    match response.status:
        case "OK":
            return succeeded(target, _as_json(target, response.body))
        case "ABORTED" if response.details != "ONGOING":
            return refused(response.details)
        case "ABORTED" | "FAILED_PRECONDITION":
            return Outcome(kind="ongoing", error=Ongoing(cut(response.details) or "ONGOING"))
        case status:
            return Outcome(kind="unknown", error=StepFault(f"{target.url}{_ENDED}{status}: {cut(response.details)}"))


def status_in(text: str) -> str:
    """The status of a participant that a fault's text tells of, by its name; empty when it tells of none."""
    found = _ENDED_IN.search(text)
    return found[1] if found is not None else ""


def _as_json(target: GrpcTarget[Any], body: bytes) -> bytes:
    """A reply as the journal keeps it: bytes and messages in base 64, JSON as it is, nothing as null."""
    if target.result_type is bytes or hasattr(target.result_type, "FromString"):
        return msgspec.json.encode(body)
    return body if body.strip() else b"null"
