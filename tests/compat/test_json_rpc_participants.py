"""JSON-RPC participants: checks 181, 182 and 184."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.compat.dtm import Dtm
from tests.compat.orders import saga
from tests.compat.ways import OK, HttpWay, JsonRpcWay
from tests.compat.web import Participant, Reply


def answered(result: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": "x", "result": result, "error": None}).encode()


def erred(code: int, message: str = "no money") -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": "x", "error": {"code": code, "message": message}}).encode()


async def test_181_a_url_with_a_method_is_called_by_json_rpc(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", Reply(body=answered({})))
    order = saga(participant, "/a", protocol="json-rpc", wait_result=True)
    order["steps"][0]["action"] = f"{participant.url}/a?x=1&method=Transfer"
    assert await JsonRpcWay(dtm).submit(order) == OK
    (call,) = participant.calls
    assert (call.method, call.query) == ("POST", "x=1&method=Transfer")
    assert call.headers["content-type"] == "application/json"
    said = json.loads(call.body)
    assert said.pop("id")
    ids = {"gid": order["gid"], "trans_type": "saga", "branch_id": "01", "op": "action"}
    assert said == {"jsonrpc": "2.0", "method": "Transfer", "params": {"step": "/a", **ids}}


async def outcome_of(dtm: Dtm, participant: Participant, reply: Reply, payload: str = "{}") -> str:
    """What became of a saga whose JSON-RPC participant answered so: its status, and its interval while unfinished."""
    participant.replies("/a", reply)
    order = saga(participant, "/a", wait_result=True, protocol="json-rpc", payloads=[payload])
    order["steps"][0]["action"] += "?method=Do"
    await HttpWay(dtm).submit(order)
    found = await dtm.transaction(order["gid"])
    return f"submitted {found['next_cron_interval']}" if found["status"] == "submitted" else str(found["status"])


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, answered({}), "succeed"),
        (200, b'{"result":1}', "succeed"),
        (200, erred(-32603), "submitted 20"),
        (200, erred(-32601, "FAILURE"), "failed"),
        (200, erred(-1, "ONGOING"), "submitted 10"),
        (500, answered({}), "submitted 20"),
        (409, b"no", "failed"),
        (425, b"", "submitted 10"),
    ],
)
async def test_182_an_answer_means_what_dtm_says(
    dtm: Dtm, participant: Participant, status: int, body: bytes, outcome: str
) -> None:
    assert await outcome_of(dtm, participant, Reply(status=status, body=body)) == outcome


@pytest.mark.parametrize("body", [b"", b"no json", b"[]"])
async def test_an_answer_that_is_no_json_rpc_is_an_error_like_any_other(
    dtm: Dtm, participant: Participant, body: bytes
) -> None:
    # DTM crashes on it, and then does not back off (spec 3.3).
    assert await outcome_of(dtm, participant, Reply(body=body)) == "submitted 20"


@pytest.mark.parametrize(("code", "outcome"), [(-32901, "failed"), (-32902, "submitted 10")])
async def test_dtms_codes_of_a_participant_are_honoured(
    dtm: Dtm, participant: Participant, code: int, outcome: str
) -> None:
    # DTM documents them and never recognises them (spec 12.5).
    assert await outcome_of(dtm, participant, Reply(body=erred(code))) == outcome


@pytest.mark.parametrize("payload", ["", "null"])
async def test_no_payload_is_an_empty_object(dtm: Dtm, participant: Participant, payload: str) -> None:
    # DTM crashes on it, and repeats the crash for ever (spec 12.6).
    assert await outcome_of(dtm, participant, Reply(body=answered({})), payload) == "succeed"
    params: dict[str, Any] = json.loads(participant.calls[0].body)["params"]
    assert sorted(params) == ["branch_id", "gid", "op", "trans_type"]


async def test_184_a_url_without_a_method_is_called_as_plain_http(dtm: Dtm, participant: Participant) -> None:
    order = saga(participant, "/a", protocol="json-rpc", wait_result=True)
    assert await JsonRpcWay(dtm).submit(order) == OK
    (call,) = participant.calls
    assert (call.body, call.params["gid"]) == (b'{"step": "/a"}', order["gid"])
