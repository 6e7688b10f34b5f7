"""DTM's requests: from the bytes of a body to typed values (spec 2.3).

The law of this file: every field that this server does not use, or that only the server may set (12.34), is ignored,
whatever it holds. A request that comes out of here is well formed, but not yet one that can be carried out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import msgspec

from flowtx.dtm.wire.errors import RequestError, UndecodableError
from flowtx.dtm.wire.go_json import (
    INT64_MAX,
    INT64_MIN,
    Reader,
    parse,
    read_bool,
    read_fields,
    read_int,
    read_string,
    read_string_map,
    read_string_maps,
    read_strings,
)

GID_LENGTH_MAX = 128
"""The longest gid, in characters; DTM's SQL stores hold no longer one."""

_DELETED_FROM_GIDS = str.maketrans("", "", "\n\r;")


class TransactionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What prepare, submit, abort and the other calls about one transaction carry (spec 2.3).

    ``payloads`` is the effective list: the request's payloads, then what old clients put into their steps as ``data``.
    Times are in whole seconds, as on the wire; zero means the server's default.
    """

    gid: str = ""
    trans_type: str = ""
    steps: tuple[Mapping[str, str], ...] = ()
    payloads: tuple[bytes, ...] = ()
    query_prepared: str = ""
    protocol: str = ""
    custom_data: str = ""
    rollback_reason: str = ""
    req_extra: Mapping[str, str] = MappingProxyType({})
    wait_result: bool = False
    timeout_to_fail: int = 0
    request_timeout: int = 0
    retry_interval: int = 0
    branch_headers: Mapping[str, str] = MappingProxyType({})
    concurrent: bool = False
    retry_limit: int = 0


def parse_transaction_request(body: bytes) -> TransactionRequest:
    """The request in a body that came over plain HTTP; raises ``RequestError`` naming the field and what is wrong."""
    try:
        common = _common.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return read_slowly(body)  # unusual or wrong, and only the slow reader knows which
    return _request_of(_common_fields(common))


def read_slowly(body: bytes) -> TransactionRequest:
    """As ``parse_transaction_request``, by the rules alone."""
    return _request_of(read_fields(parse(body), READERS))


def read_transaction_request(document: object) -> TransactionRequest:
    """The request in a document that came over JSON-RPC, where gids stay as they are; raises ``RequestError``."""
    return _request_of(read_fields(document, READERS), strips_gid=False)


class BranchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What registerBranch carries; which fields count is up to ``trans_type`` (spec 2.4)."""

    gid: str = ""
    branch_id: str = ""
    trans_type: str = ""
    data: bytes = b""
    confirm: str = ""
    cancel: str = ""
    url: str = ""
    op: str = ""
    status: str = ""


def parse_branch_request(body: bytes) -> BranchRequest:
    """The request in a body that came over plain HTTP; raises ``UndecodableError``."""
    try:
        found = read_branch_request(parse(body))
    except RequestError as error:
        raise UndecodableError(error.message) from error
    return msgspec.structs.replace(found, gid=strip_gid(found.gid))


def read_branch_request(document: object) -> BranchRequest:
    """The request in a document, a flat object whose values are all texts; raises ``RequestError``."""
    fields = read_string_map(document, "body")
    known = {name: fields[name] for name in _BRANCH_FIELDS if name in fields}
    return BranchRequest(data=fields.get("data", "").encode(), **known)


_BRANCH_FIELDS = frozenset(BranchRequest.__struct_fields__) - {"data"}


def strip_gid(gid: str) -> str:
    """A gid without what DTM deletes from those that come over plain HTTP (spec 1)."""
    return gid.translate(_DELETED_FROM_GIDS)


def check_gid(gid: str) -> None:
    """Raises ``RequestError`` for a gid that no transaction can have."""
    if not gid:
        raise RequestError("the gid is empty; ask for one with newGid, or choose one")
    if len(gid) > GID_LENGTH_MAX:
        raise RequestError(f"the gid has {len(gid)} characters, expected at most {GID_LENGTH_MAX}")
    if "\0" in gid:
        raise RequestError("the gid holds a NUL character, which not every database can store")


def _request_of(fields: dict[str, Any], *, strips_gid: bool = True) -> TransactionRequest:
    payloads = [payload.encode() for payload in fields.pop("payloads", ())]
    payloads += [data.encode() for step in fields.get("steps", ()) if (data := step.get("data"))]
    if strips_gid:
        fields["gid"] = strip_gid(fields.get("gid", ""))
    return TransactionRequest(payloads=tuple(payloads), **fields)


READERS: Mapping[str, Reader] = {
    "gid": read_string,
    "trans_type": read_string,
    "steps": read_string_maps,
    "payloads": read_strings,
    "query_prepared": read_string,
    "protocol": read_string,
    "custom_data": read_string,
    "rollback_reason": read_string,
    "req_extra": read_string_map,
    "wait_result": read_bool,
    "timeout_to_fail": read_int,
    "request_timeout": read_int,
    "retry_interval": read_int,
    "branch_headers": read_string_map,
    "concurrent": read_bool,
    "retry_limit": read_int,
}
"""What reads each field."""

_Int64 = Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)]


class CommonRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The request as nearly every client writes it: what fits here means the same to the slow reader.

    Keys in another case, unknown fields and wrong types do not fit, so that the slow reader decides about them.
    """

    gid: str | None = None
    trans_type: str | None = None
    steps: list[dict[str, str]] | None = None
    payloads: list[str] | None = None
    query_prepared: str | None = None
    protocol: str | None = None
    custom_data: str | None = None
    rollback_reason: str | None = None
    req_extra: dict[str, str] | None = None
    wait_result: bool | None = None
    timeout_to_fail: _Int64 | None = None
    request_timeout: _Int64 | None = None
    retry_interval: _Int64 | None = None
    branch_headers: dict[str, str] | None = None
    concurrent: bool | None = None
    retry_limit: _Int64 | None = None
    passthrough_headers: list[str] | None = None  # sent by the Python and PHP clients, used by no server


_common = msgspec.json.Decoder(CommonRequest)
_COMMON_FIELDS = tuple(name for name in CommonRequest.__struct_fields__ if name in READERS)


def _common_fields(common: CommonRequest) -> dict[str, Any]:
    """The fields that are there and not null."""
    fields: dict[str, Any] = {}
    for name in _COMMON_FIELDS:
        value: Any = getattr(common, name)
        if value is not None:
            fields[name] = tuple(value) if name in ("steps", "payloads") else value
    return fields
