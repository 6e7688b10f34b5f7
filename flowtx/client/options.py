"""What every transaction that is handed to a server has: a gid, options, payloads (spec 2.3).

The law of this file: what no server could keep or run as meant is refused here, before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

from flowtx_dsl.codec import encode
from flowtx_dsl.errors import PayloadError, WorkflowError

GID_LENGTH_MAX = 128
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110, 5.6.2
_HEADER_VALUE = re.compile(r"[\t -~]*", re.ASCII)


def _none() -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the server treats a transaction (spec 2.3). Times are in whole seconds; None leaves it to the server.

    ``wait_result``: answer the submit when the transaction has come to an end, or is known not to succeed.
    ``request_timeout_s``: of each call to a participant. ``timeout_to_fail_s``: when a saga is turned round (sagas
    have none of their own). ``retry_interval_s``: the first pause before a call is repeated. ``retry_count_max``: how
    often a saga's action is repeated before the saga is turned round. ``branch_headers``: sent with every call.
    """

    wait_result: bool = False
    request_timeout_s: int | None = None
    timeout_to_fail_s: int | None = None
    retry_interval_s: int | None = None
    retry_count_max: int | None = None
    branch_headers: Mapping[str, str] = field(default_factory=_none)

    def __post_init__(self) -> None:
        for name in ("request_timeout_s", "timeout_to_fail_s", "retry_interval_s", "retry_count_max"):
            value: object = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value <= 0):
                raise WorkflowError(f"Options.{name} is {value!r}, expected a positive whole number or None")
        for header, text in self.branch_headers.items():
            if not _HEADER_NAME.fullmatch(header) or not _HEADER_VALUE.fullmatch(text):
                raise WorkflowError(
                    f"Options.branch_headers has {header!r}: {text!r}, which no HTTP header can be",
                    remedy="Name it with letters, digits and hyphens; let its value be one line of ASCII.",
                )

    def fields(self) -> dict[str, object]:
        """The fields of a request, without what is left to the server."""
        every: dict[str, object] = {
            "wait_result": self.wait_result,
            "request_timeout": self.request_timeout_s,
            "timeout_to_fail": self.timeout_to_fail_s,
            "retry_interval": self.retry_interval_s,
            "retry_limit": self.retry_count_max,
            "branch_headers": dict(self.branch_headers),
        }
        return {name: value for name, value in every.items() if value}


def check_gid(gid: str) -> None:
    """Raises ``WorkflowError`` for a gid that no server would keep as it is (spec 1)."""
    if not gid or len(gid) > GID_LENGTH_MAX or any(each in gid for each in "\n\r;\0"):
        raise WorkflowError(
            f"the gid is {gid!r}, expected 1 to {GID_LENGTH_MAX} characters without line ends, semicolons and NUL",
            remedy="Ask the server for one with new_gid().",
        )


class ProtobufMessage(Protocol):
    """What can be sent over gRPC as it is: a message of protobuf."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """Its bytes."""
        ...


def payload_bytes(payload: object, *, what: str, protocol: str) -> bytes:
    """A payload as it travels: JSON, or over gRPC also bytes and messages as they are; raises ``PayloadError``."""
    is_message = hasattr(payload, "SerializeToString")
    if is_message or isinstance(payload, bytes | bytearray):
        if protocol != "grpc":
            raise PayloadError(
                f"{what} is a {type(payload).__name__}, and payloads are JSON texts over {protocol}",
                remedy="Give plain data, or ask the server over gRPC: DtmClient('grpc://host:36790').",
            )
        return cast("ProtobufMessage", payload).SerializeToString() if is_message else bytes(cast("bytes", payload))
    try:
        return encode(payload, what=what)
    except PayloadError as error:
        cause = error.__cause__
        raise PayloadError(f"{what} cannot be sent as JSON: {cause}", remedy=error.remedy) from cause
