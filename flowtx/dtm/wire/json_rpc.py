"""DTM's JSON-RPC envelopes: what a client's call holds, and how it is answered (spec 2.6).

The law of this file: one call a request, with an id that is a text; no batches and no notifications, as in DTM.
"""

from __future__ import annotations

from typing import cast

import msgspec

from flowtx.dtm.wire import answers
from flowtx.dtm.wire.go_json import Pairs, parse, read_fields, read_string

PARSE_ERROR = -32700
BAD_REQUEST = -32600
NO_SUCH_METHOD = -32601
ERROR = -32603
FAILURE = -32901

SHOWN_MAX = 4096
"""A refused request is repeated in its answer, but not beyond so many bytes."""


class RpcCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call as it came; ``params`` is whatever JSON it holds."""

    method: str = ""
    jsonrpc: str = ""
    params: object = None
    id: str = ""

    @property
    def is_well_formed(self) -> bool:
        """Whether it says which protocol it speaks and what its answer shall be called."""
        return bool(self.id) and self.jsonrpc == "2.0"


class RpcError(msgspec.Struct, frozen=True):
    """The error of an answer."""

    code: int
    message: str


def parse_call(body: bytes) -> RpcCall:
    """The call in a body; raises ``RequestError`` for what is no JSON object, or holds an id that is no text."""
    fields = read_fields(parse(body), _READERS)
    return RpcCall(
        method=cast("str", fields.get("method", "")),
        jsonrpc=cast("str", fields.get("jsonrpc", "")),
        params=fields.get("params"),
        id=cast("str", fields.get("id", "")),
    )


def _as_it_is(value: object, field: str) -> object:
    return value


_READERS = {"method": read_string, "jsonrpc": read_string, "params": _as_it_is, "id": read_string}


def spell_call(call: RpcCall) -> str:
    """A call as Go would write it again, for the error that refuses it."""
    try:
        fields = {"method": call.method, "jsonrpc": call.jsonrpc, "params": _plain(call.params), "id": call.id}
        text = answers.encode(fields).decode()
    except (RecursionError, OverflowError):  # nested too deeply, or numbers that only a reader of any length takes
        return f"{call.method[:SHOWN_MAX]} with parameters that cannot be repeated"
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}... ({len(text)} characters in all)"


def _plain(value: object) -> object:
    """A parsed document with dicts for its objects; of several values of one key the last, keys in order, as in Go."""
    if isinstance(value, Pairs):
        return {read_string(key, "params"): _plain(item) for key, item in sorted(dict(value).items())}
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[object]", value)]
    if isinstance(value, str):
        return read_string(value, "params")  # without lone surrogates, which have no encoding
    return value


def spell_answer(call_id: str, *, result: object = None, error: RpcError | None = None) -> bytes:
    """The body of an answer, its keys in DTM's order."""
    return answers.encode({"error": error, "id": call_id, "jsonrpc": "2.0", "result": result})
