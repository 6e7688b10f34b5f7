"""The part of a request that is stored beside a transaction's row, and DTM's text of it (spec 2.5, ``options``)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from flowtx.dtm.wire import answers
from flowtx.dtm.wire.requests import TransactionRequest


class StoredOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a transaction was asked for besides its steps.

    ``interval`` is the base of its pauses in seconds after the reset rule (spec 5.1); the times the client sent stand
    unchanged beside it. ``protocol`` is DTM's, empty for what did not come over DTM's protocol. ``traceparent`` is
    the trace of the request that began it (W3C Trace Context).
    """

    interval: int = 0
    protocol: str = ""
    custom_data: str = ""
    query_prepared: str = ""
    wait_result: bool = False
    timeout_to_fail: int = 0
    request_timeout: int = 0
    retry_interval: int = 0
    branch_headers: Mapping[str, str] = MappingProxyType({})
    concurrent: bool = False
    retry_limit: int = 0
    traceparent: str = ""

    @property
    def text(self) -> str:
        """DTM's ``options`` text: Go's order of fields, empty ones left out, ``concurrent`` always there."""
        fields: dict[str, object] = {
            "wait_result": self.wait_result,
            "timeout_to_fail": self.timeout_to_fail,
            "request_timeout": self.request_timeout,
            "retry_interval": self.retry_interval,
            "branch_headers": dict(sorted(self.branch_headers.items())),
            "concurrent": self.concurrent,
            "retry_limit": self.retry_limit,
        }
        kept = {name: value for name, value in fields.items() if value or name == "concurrent"}
        return answers.encode(kept).decode()


_decoder = msgspec.json.Decoder(StoredOptions)


def options_of(request: TransactionRequest, *, retry_interval_s: int) -> StoredOptions:
    """What to store of a request; ``retry_interval_s`` is the server's."""
    return StoredOptions(
        interval=base_interval_s(request.retry_interval, request.timeout_to_fail, retry_interval_s=retry_interval_s),
        protocol=request.protocol or "http",
        custom_data=request.custom_data,
        query_prepared=request.query_prepared,
        wait_result=request.wait_result,
        timeout_to_fail=request.timeout_to_fail,
        request_timeout=request.request_timeout,
        retry_interval=request.retry_interval,
        branch_headers=dict(request.branch_headers),
        concurrent=request.concurrent,
        retry_limit=request.retry_limit,
    )


_NOT_MERGED = frozenset({"interval", "protocol"})


def merged(stored: StoredOptions, submitted: StoredOptions, *, retry_interval_s: int) -> StoredOptions:
    """The options of a prepared transaction once it is submitted: what the submission names counts (spec 12.11)."""
    asked = {
        field.name: value
        for field in msgspec.structs.fields(StoredOptions)
        if field.name not in _NOT_MERGED and (value := getattr(submitted, field.name)) != field.default
    }
    both = msgspec.structs.replace(stored, **asked)
    interval = base_interval_s(both.retry_interval, both.timeout_to_fail, retry_interval_s=retry_interval_s)
    return msgspec.structs.replace(both, interval=interval)


INTERVAL_MAX_S = 365 * 86_400
"""The longest base interval, in seconds; a longer wish, or one below a second, is brought to the nearest bound."""


def base_interval_s(asked_s: int, timeout_s: int, *, retry_interval_s: int) -> int:
    """The reset rule (spec 5.1): the interval asked for, else a short timeout, else the server's interval."""
    if asked_s:
        return min(max(asked_s, 1), INTERVAL_MAX_S)
    if 0 < timeout_s < retry_interval_s:
        return timeout_s
    return retry_interval_s


def encode_options(options: StoredOptions) -> bytes:
    """As the row keeps them."""
    return msgspec.json.encode(options)


def decode_options(data: bytes) -> StoredOptions:
    """From the row; raises ``msgspec.DecodeError``. A transaction of the library has ``{}``: all defaults."""
    return _decoder.decode(data)
