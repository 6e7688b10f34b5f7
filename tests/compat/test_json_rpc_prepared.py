"""JSON-RPC, for what is prepared first: checks 178 and 180."""

from __future__ import annotations

import json

from tests.compat.dtm import Dtm
from tests.compat.orders import msg, new_gid, tcc_branch
from tests.compat.ways import OK, JsonRpcWay
from tests.compat.web import Participant, Reply


def answered(result: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": "x", "result": result, "error": None}).encode()


def erred(code: int, message: str = "no money") -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": "x", "error": {"code": code, "message": message}}).encode()


async def test_178_a_branch_that_cannot_be_registered_has_dtms_codes(dtm: Dtm, participant: Participant) -> None:
    branch = tcc_branch(participant, "unknown", "01", "/a")
    answer = await dtm.json_rpc("registerBranch", branch)
    assert answer.json["error"]["code"] == -32901
    assert answer.json["result"] == {}
    unknown = await dtm.json_rpc("registerBranch", {**branch, "trans_type": "nonsense"})
    assert unknown.json["error"] == {"code": -32603, "message": "unknow trans type: nonsense"}


async def test_180_181_a_message_to_json_rpc_participants(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", Reply(body=answered({})))
    order = msg(participant, "/a", protocol="json-rpc", wait_result=True)
    order["steps"] = [{"action": f"{participant.url}/a?x=1&method=Transfer"}]
    assert await JsonRpcWay(dtm).submit(order) == OK
    (call,) = participant.calls
    assert (call.method, call.query) == ("POST", "x=1&method=Transfer")
    assert call.headers["content-type"] == "application/json"
    said = json.loads(call.body)
    assert said.pop("id")
    ids = {"gid": order["gid"], "trans_type": "msg", "branch_id": "01", "op": "action"}
    assert said == {"jsonrpc": "2.0", "method": "Transfer", "params": {"step": "/a", **ids}}


async def test_180_a_tcc_of_json_rpc_participants(dtm: Dtm, participant: Participant) -> None:
    order = {"gid": new_gid(), "trans_type": "tcc", "protocol": "json-rpc", "wait_result": True}
    to = JsonRpcWay(dtm)
    assert await to.prepare(order) == OK
    branch = tcc_branch(participant, str(order["gid"]), "01", "/a")
    branch["confirm"] = f"{participant.url}/rpc?method=Confirm"
    participant.replies("/rpc", Reply(body=answered(None)))
    assert await to.register(branch) == OK
    assert await to.submit(order) == OK
    assert await dtm.rows(str(order["gid"])) == "P S"
    assert json.loads(participant.calls[0].body)["params"]["op"] == "confirm"


async def test_a_message_is_asked_about_by_json_rpc(clocked: Dtm, participant: Participant) -> None:
    # DTM crashes before it asks, so there the message stays prepared for ever (spec 12.6).
    participant.replies("/prepared", Reply(body=answered({})))
    order = msg(participant, "/a", protocol="json-rpc")
    order["query_prepared"] += "?method=QueryPrepared"
    assert await JsonRpcWay(clocked).prepare(order) == OK
    assert (await clocked.visit(order["gid"], now_in_s=180))["status"] == "succeed"
    asked = json.loads(participant.calls[0].body)
    assert (asked["method"], asked["params"]["op"], asked["params"]["branch_id"]) == ("QueryPrepared", "msg", "00")
