"""What goes in and out of the API, as JSON Schema: made from the types that read and write it.

The law of this file: requests may hold more than their schema names, because unknown keys are ignored (spec 2.2);
answers never do, because some clients map them onto strict classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from flowtx.dtm.branches import PATTERNS
from flowtx.dtm.json_rpc import METHODS
from flowtx.dtm.wire.requests import GID_LENGTH_MAX, BranchRequest, CommonRequest
from flowtx.dtm.wire.views import KvPage, KvScan, ListView, QueryView, WorkflowView

Schema = dict[str, Any]

REF = "#/components/schemas/"

TRANSACTION_FIELDS: Mapping[str, str] = {
    "gid": "The id of the transaction; line breaks and `;` are removed.",
    "trans_type": "The pattern.",
    "steps": "saga: objects with `action` and `compensate`; msg: with `action`; URLs. An action of a msg may be "
    "`topic://name`: all its subscribers.",
    "payloads": "The body for each step, as text.",
    "query_prepared": "msg: whom to ask whether the sender committed; workflow: whom to call back.",
    "protocol": "`http`, `grpc` or `json-rpc`: with the URL it says over which transport a participant is called.",
    "custom_data": "JSON as text. saga: `concurrent` and `orders`; msg: `delay`; workflow: `name` and `data`.",
    "rollback_reason": "abort: why.",
    "req_extra": "Submit of a workflow: `status` (`succeed` or `failed`), `result`, `rollback_reason`.",
    "wait_result": "Answer when the transaction has ended or rests.",
    "timeout_to_fail": "Seconds until it turns round or, a msg, until `query_prepared` is asked; 0: the server's "
    "setting, for a saga never.",
    "request_timeout": "Seconds that a call of a participant may take; 0: the server's setting.",
    "retry_interval": "Seconds before a call is repeated, doubled at every error in a row; 0: the server's setting.",
    "branch_headers": "Headers (gRPC: metadata) of every call.",
    "concurrent": "msg: call all subscribers at once.",
    "retry_limit": "saga: calls without an outcome are repeated at once, so often over the whole saga; 0: no limit.",
}
"""What each key of a transaction request means (spec 2.3)."""

BRANCH_FIELDS: Mapping[str, str] = {
    "gid": "The transaction, which is prepared.",
    "branch_id": "The id of the branch, `01`.",
    "trans_type": "`tcc`, `xa` or `workflow`: which of the other keys count.",
    "data": "tcc: what confirm and cancel get; workflow: the result.",
    "confirm": "tcc: the URL to call when it is submitted.",
    "cancel": "tcc: the URL to call when it is taken back.",
    "url": "xa: the URL to call for commit and rollback.",
    "op": "workflow: what was done.",
    "status": "workflow: how it ended.",
}
"""What each key of a branch request means (spec 2.4)."""

TRANS_TYPES = tuple(name.removeprefix("dtm.") for name in PATTERNS)

TEXT: Schema = {"type": "string"}


def ref(name: str) -> Schema:
    """A reference to a schema of the document."""
    return {"$ref": f"{REF}{name}"}


def make_schemas() -> dict[str, Schema]:
    """Every schema of the document, by name."""
    return {**_requests(), **_rpc(), **_envelopes(), **_views()}


def _requests() -> dict[str, Schema]:
    _, found = msgspec.json.schema_components((CommonRequest,), ref_template=f"{REF}{{name}}")
    types: dict[str, Schema] = found["CommonRequest"]["properties"]
    fields = {name: _without_default(types[name]) | {"description": text} for name, text in TRANSACTION_FIELDS.items()}
    fields["gid"] = {**TEXT, "minLength": 1, "maxLength": GID_LENGTH_MAX, "description": TRANSACTION_FIELDS["gid"]}
    fields["trans_type"] = {**TEXT, "enum": list(TRANS_TYPES), "description": TRANSACTION_FIELDS["trans_type"]}
    branch = {name: {**TEXT, "description": text} for name, text in BRANCH_FIELDS.items()}
    assert set(branch) == set(BranchRequest.__struct_fields__), branch
    return {
        "TransactionRequest": _object(fields, required=("gid", "trans_type")),
        "AbortRequest": _object(_only(fields, "gid", "trans_type", "rollback_reason"), required=("gid",)),
        "GidRequest": _object(_only(fields, "gid"), required=("gid",)),
        "BranchRequest": _object(branch, required=("gid", "branch_id", "trans_type"))
        | {"additionalProperties": TEXT, "description": "A flat object whose values are all texts."},
    }


def _rpc() -> dict[str, Schema]:
    call: dict[str, Schema] = {
        "jsonrpc": {"const": "2.0"},
        "id": {**TEXT, "minLength": 1},
        "method": {**TEXT, "enum": list(METHODS)},
        "params": {"description": "As the body of the route of that name."},
    }
    error: dict[str, Schema] = {"code": {"type": "integer"}, "message": TEXT}
    answer: dict[str, Schema] = {
        "error": {"anyOf": [{"type": "null"}, _closed(error)]},
        "id": TEXT,
        "jsonrpc": {"const": "2.0"},
        "result": {"description": "As the route of that name answers, without `dtm_result`."},
    }
    return {"RpcCall": _object(call, required=("jsonrpc", "id", "method")), "RpcAnswer": _closed(answer)}


def _envelopes() -> dict[str, Schema]:
    count: Schema = {"type": "integer", "minimum": 0}
    return {
        "Success": _closed({"dtm_result": {"const": "SUCCESS"}}),
        "Failure": _closed({"dtm_result": {"const": "FAILURE"}, "message": {**TEXT, "pattern": "FAILURE$"}}),
        "Ongoing": _closed({"dtm_result": {"const": "ONGOING"}, "message": TEXT}),
        "Error": _closed({"message": {**TEXT, "minLength": 1}}),
        "Gid": _closed({"dtm_result": {"const": "SUCCESS"}, "gid": TEXT}),
        "Version": _closed({"version": TEXT}),
        "Pong": _closed({"msg": {"const": "pong"}}),
        "Hastened": _closed({"has_remaining": {"type": "boolean"}, "succeed_count": count}),
    }


def _views() -> dict[str, Schema]:
    views = (QueryView, WorkflowView, ListView, KvPage, KvScan)
    _, found = msgspec.json.schema_components(views, ref_template=f"{REF}{{name}}")
    return {name: _readable(schema) | {"additionalProperties": False} for name, schema in found.items()}


def _readable(schema: Schema) -> Schema:
    """A schema whose description, a docstring, is CommonMark."""
    return schema | {"description": cast("str", schema["description"]).replace("``", "`")}


def _object(properties: Mapping[str, Schema], *, required: tuple[str, ...]) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _closed(properties: Mapping[str, Schema]) -> Schema:
    return _object(properties, required=tuple(properties)) | {"additionalProperties": False}


def _only(fields: Mapping[str, Schema], *names: str) -> dict[str, Schema]:
    return {name: fields[name] for name in names}


def _without_default(schema: Schema) -> Schema:
    """Without "default: null", which says nothing: null means left out (spec 2.2)."""
    return {key: value for key, value in schema.items() if key != "default"}
