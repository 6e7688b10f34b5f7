"""What OpenAPI is told of each route beyond its method and path: words, parameters, bodies, and its answers.

The law of this file: a table and its words. Which routes there are, ``routes.py`` says; tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowtx.dtm.routes import JSON_RPC_PATH, PING_PATH, PREFIX
from flowtx.dtm.wire.queries import PAGE_DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A part of the query string or, ``where`` says so, of the path; numbers are written as texts there."""

    name: str
    text: str
    is_number: bool = False
    is_required: bool = False
    default: int | None = None
    where: str = "query"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One route: ``body``, ``done`` and the like are names of schemas, ``errors`` the statuses beside 200."""

    group: str
    summary: str
    done: str = "Success"
    body: str = ""
    example: Mapping[str, Any] = field(default_factory=dict[str, Any])
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = (500, 503)


GROUPS: Mapping[str, str] = {
    "transactions": "Begin, end and push transactions.",
    "looking": "What the server knows.",
    "topics": "Topics, their subscribers, and key-values.",
    "server": "About the server itself.",
}

SAGA = {
    "gid": "g-1",
    "trans_type": "saga",
    "steps": [{"action": "http://127.0.0.1:8081/out", "compensate": "http://127.0.0.1:8081/out-back"}],
    "payloads": ['{"amount":30}'],
}
TCC = {"gid": "g-1", "trans_type": "tcc"}
TCC_BRANCH = {
    **TCC,
    "branch_id": "01",
    "data": '{"amount":30}',
    "confirm": "http://127.0.0.1:8081/confirm",
    "cancel": "http://127.0.0.1:8081/cancel",
}
XA_BRANCH = {"gid": "g-1", "trans_type": "xa", "branch_id": "01", "url": "http://127.0.0.1:8081/xa"}
WORKFLOW = {
    "gid": "g-1",
    "trans_type": "workflow",
    "query_prepared": "http://127.0.0.1:8081/workflow",
    "custom_data": '{"name":"transfer","data":"e30="}',
}
RPC: Mapping[str, Any] = {"jsonrpc": "2.0", "id": "1", "method": "newGid", "params": {}}

GID = Parameter(name="gid", text="The id of the transaction.", is_required=True)
POSITION = Parameter(name="position", text="The `next_position` of the page before; empty: the first.", is_number=True)
LIMIT = Parameter(name="limit", text="The length of the page.", is_number=True, default=PAGE_DEFAULT)
TOPIC = Parameter(name="topic", text="The name of the topic.", is_required=True)
URL = Parameter(name="url", text="The URL of the subscriber.", is_required=True)
CATEGORY = Parameter(name="cat", text="The category; topics are in `topics`.")

ORDERS = (408, 413, 500, 503)
"""The errors of whatever takes a body; the reasons are in ``document.py``."""

BRANCH_ERRORS = (400, 409, *ORDERS)

DESCRIBED: Mapping[tuple[str, str], Described] = {
    ("GET", f"{PREFIX}/newGid"): Described(group="server", summary="A gid that nobody has", done="Gid"),
    ("GET", f"{PREFIX}/version"): Described(group="server", summary="The version of the server", done="Version"),
    ("POST", f"{PREFIX}/prepare"): Described(
        group="transactions",
        summary="Store a transaction that waits for its submission",
        body="TransactionRequest",
        example=TCC,
        errors=(409, *ORDERS),
    ),
    ("POST", f"{PREFIX}/submit"): Described(
        group="transactions",
        summary="Begin a transaction, or the work of a prepared one",
        body="TransactionRequest",
        example=SAGA,
        errors=(409, 425, *ORDERS),
    ),
    ("POST", f"{PREFIX}/abort"): Described(
        group="transactions",
        summary="Cancel a prepared tcc, roll back an xa, drop a msg",
        body="AbortRequest",
        example={**TCC, "rollback_reason": "changed my mind"},
        errors=(409, 425, *ORDERS),
    ),
    ("POST", f"{PREFIX}/registerBranch"): Described(
        group="transactions",
        summary="Register a branch of a tcc or xa, or what a workflow has done",
        body="BranchRequest",
        example=TCC_BRANCH,
        errors=BRANCH_ERRORS,
    ),
    ("POST", f"{PREFIX}/registerTccBranch"): Described(
        group="transactions",
        summary="registerBranch under the name that old clients use",
        body="BranchRequest",
        example=TCC_BRANCH,
        errors=BRANCH_ERRORS,
    ),
    ("POST", f"{PREFIX}/registerXaBranch"): Described(
        group="transactions",
        summary="registerBranch under the name that old clients use",
        body="BranchRequest",
        example=XA_BRANCH,
        errors=BRANCH_ERRORS,
    ),
    ("POST", f"{PREFIX}/prepareWorkflow"): Described(
        group="transactions",
        summary="Store a workflow that runs in its client, or give back the one that is there",
        done="WorkflowView",
        body="TransactionRequest",
        example=WORKFLOW,
        errors=ORDERS,
    ),
    ("POST", f"{PREFIX}/resetNextCronTime"): Described(
        group="transactions",
        summary="Make the calls of a transaction that wait for their next attempt now",
        body="GidRequest",
        example={"gid": "g-1"},
        errors=ORDERS,
    ),
    ("GET", f"{PREFIX}/resetCronTime"): Described(
        group="transactions",
        summary="The same for transactions that wait long",
        done="Hastened",
        parameters=(
            Parameter(name="timeout", text="Those that wait for more seconds than this.", is_number=True),
            Parameter(name="limit", text="So many at most.", is_number=True, default=PAGE_DEFAULT),
        ),
    ),
    ("POST", f"{PREFIX}/forceStop"): Described(
        group="transactions",
        summary="End a transaction as failed; nothing is taken back",
        body="GidRequest",
        example={"gid": "g-1"},
        errors=(409, *ORDERS),
    ),
    ("GET", f"{PREFIX}/query"): Described(
        group="looking", summary="A transaction and its branches", done="QueryView", parameters=(GID,)
    ),
    ("GET", f"{PREFIX}/all"): Described(
        group="looking",
        summary="Transactions, newest first",
        done="ListView",
        parameters=(
            Parameter(name="gid", text="This transaction alone."),
            POSITION,
            LIMIT,
            Parameter(name="status", text="`prepared`, `submitted`, `aborting`, `succeed` or `failed`."),
            Parameter(name="transType", text="`saga`, `tcc`, `xa`, `msg` or `workflow`."),
            Parameter(name="createTimeStart", text="Created at or after this, in Unix milliseconds.", is_number=True),
            Parameter(name="createTimeEnd", text="Created at or before this, in Unix milliseconds.", is_number=True),
        ),
    ),
    ("GET", f"{PREFIX}/subscribe"): Described(
        group="topics",
        summary="Add a subscriber to a topic, which is made if it is new",
        parameters=(TOPIC, URL, Parameter(name="remark", text="Kept beside it.")),
    ),
    ("GET", f"{PREFIX}/unsubscribe"): Described(
        group="topics", summary="Remove a subscriber of a topic", parameters=(TOPIC, URL)
    ),
    ("DELETE", f"{PREFIX}/topic/{{name}}"): Described(
        group="topics",
        summary="Remove a topic and its subscribers",
        parameters=(Parameter(name="name", text="The name of the topic.", is_required=True, where="path"),),
    ),
    ("GET", f"{PREFIX}/queryKV"): Described(
        group="topics",
        summary="The key-values of a category and a key",
        done="KvPage",
        parameters=(CATEGORY, Parameter(name="key", text="The key.")),
    ),
    ("GET", f"{PREFIX}/scanKV"): Described(
        group="topics",
        summary="A page of a category, newest first",
        done="KvScan",
        parameters=(CATEGORY, POSITION, LIMIT),
    ),
    ("POST", JSON_RPC_PATH): Described(
        group="transactions",
        summary="Operations as JSON-RPC 2.0, whose errors are in the answer",
        done="RpcAnswer",
        body="RpcCall",
        example=RPC,
        errors=(400, 408, 413),
    ),
    ("GET", PING_PATH): Described(
        group="server", summary="Whether it is there; any other method will do, too", done="Pong", errors=()
    ),
}
