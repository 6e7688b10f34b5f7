"""The JSON-RPC API, seen from outside (spec 2.6, checks 174 to 184)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.compat.dtm import Dtm
from tests.compat.orders import new_gid, saga
from tests.compat.web import Answer, Participant, Reply

PATH = "/api/json-rpc"


async def post(dtm: Dtm, body: object) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await dtm.ask("POST", PATH, content)


async def call(dtm: Dtm, method: str, params: object = None, **more: object) -> dict[str, Any]:
    """A well-formed call and its answer, whose form is checked."""
    answer = await post(dtm, {"jsonrpc": "2.0", "method": method, "params": params, "id": "no-use", **more})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert list(answer.json) == ["error", "id", "jsonrpc", "result"], "keys in DTM's order"
    assert (answer.json["jsonrpc"], answer.json["id"]) == ("2.0", more.get("id", "no-use"))
    found: dict[str, Any] = answer.json
    return found


# -- the envelope


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"{",
        b"[]",
        b"3",
        b'"x"',
        b"\xff",
        b"[" * 100_000,
        b'{"id":1,"jsonrpc":"2.0","method":"newGid"}',
        b'{"id":"1","jsonrpc":2.0,"method":"newGid"}',
        b'{"id":"1","jsonrpc":"2.0","method":["newGid"]}',
        b'[{"id":"1","jsonrpc":"2.0","method":"newGid"}]',
    ],
)
async def test_checks_174_and_176_what_is_no_call_is_minus_32700(dtm: Dtm, body: bytes) -> None:
    answer = await post(dtm, body)
    assert answer.status == 400
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.json["error"]["code"] == -32700
    assert answer.json["error"]["message"].startswith("Parse json error: ")
    assert (answer.json["id"], answer.json["jsonrpc"], answer.json["result"]) == ("", "2.0", None)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (
            b'{"jsonrpc":"1.0","method":"newGid","id":"7"}',
            '{"method":"newGid","jsonrpc":"1.0","params":null,"id":"7"}',
        ),
        (
            b'{"jsonrpc":"2.0","method":"newGid","params":{"b":1,"a":[{}]}}',
            '{"method":"newGid","jsonrpc":"2.0","params":{"a":[{}],"b":1},"id":""}',
        ),
        (b"null", '{"method":"","jsonrpc":"","params":null,"id":""}'),
        (b"{}", '{"method":"","jsonrpc":"","params":null,"id":""}'),
    ],
)
async def test_check_175_another_version_or_no_id_is_minus_32600(dtm: Dtm, body: bytes, shown: str) -> None:
    answer = await post(dtm, body)
    assert answer.status == 200
    assert answer.json["error"] == {"code": -32600, "message": f"Bad json request: {shown}"}
    assert answer.json["result"] is None


@pytest.mark.parametrize("depth", [900, 5_000])
async def test_a_bad_call_too_deep_or_too_long_to_repeat_is_refused_all_the_same(dtm: Dtm, depth: int) -> None:
    deep = b'{"method":"m","params":' + b"[" * depth + b"]" * depth + b"}"
    answer = await post(dtm, deep)
    assert answer.json["error"]["code"] in (-32600, -32700)
    long = {"method": "m", "params": ["x" * 100_000, 2**70]}
    answer = await post(dtm, long)
    assert answer.json["error"]["code"] == -32600
    assert len(answer.body) < 10_000


@pytest.mark.parametrize(
    "method", ["", "query", "forceStop", "NewGid", "prepareWorkflow", "subscribe", "__class__", "x" * 10_000]
)
async def test_check_177_an_unknown_method_is_minus_32601(dtm: Dtm, method: str) -> None:
    answer = await call(dtm, method)
    assert answer["error"] == {"code": -32601, "message": f"Method not found: {method[:100]}"}
    assert answer["result"] is None


async def test_key_names_match_in_any_case_and_others_are_ignored(dtm: Dtm) -> None:
    answer = await post(dtm, b'{"JSONRPC":"2.0","Method":"newGid","ID":"a","extra":{"x":[]}}')
    assert answer.json["error"] is None
    assert answer.json["id"] == "a"


async def test_the_path_takes_post_only(dtm: Dtm) -> None:
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        assert (await dtm.ask(method, PATH)).status == 404
    redirected = await dtm.ask("POST", f"{PATH}/")
    assert (redirected.status, redirected.headers["location"]) == (307, PATH)


# -- methods


@pytest.mark.parametrize("params", [None, [], {}, {"gid": "x"}, 3, "x"])
async def test_check_179_new_gid_takes_any_parameters(dtm: Dtm, params: object) -> None:
    answer = await call(dtm, "newGid", params, id="an id")
    assert answer["error"] is None
    assert list(answer["result"]) == ["gid"]
    assert len(answer["result"]["gid"]) >= 13


async def test_a_saga_is_submitted_and_waited_for(dtm: Dtm, participant: Participant) -> None:
    order = saga(participant, "/a", "/b", wait_result=True)
    assert await call(dtm, "submit", order) == {"error": None, "id": "no-use", "jsonrpc": "2.0", "result": None}
    assert await dtm.rows(order["gid"]) == "P S P S"


async def test_a_refused_saga_is_minus_32901_with_the_reason(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/b", Reply(status=409, body=b"no money"))
    answer = await call(dtm, "submit", saga(participant, "/a", "/b", wait_result=True))
    assert answer["error"]["code"] == -32901
    assert answer["error"]["message"].endswith("no money FAILURE")
    assert answer["result"] == {}


async def test_a_finished_transaction_is_not_submitted_again(dtm: Dtm, participant: Participant) -> None:
    order = saga(participant, "/a", wait_result=True)
    await call(dtm, "submit", order)
    answer = await call(dtm, "submit", order)
    assert answer["error"] == {"code": -32901, "message": "current status 'succeed', cannot sumbmit. FAILURE"}


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ([], "the body is an array, expected an object"),
        (None, "the gid is empty"),
        ({"gid": "jrpc-1", "trans_type": "what"}, "unknown trans_type 'what'"),
        ({"gid": "jrpc-1", "trans_type": 3}, "field trans_type: expected a string, got an integer"),
        ({"gid": "jrpc-1", "trans_type": "saga", "steps": [{"action": "http://a"}]}, "1 steps and 0 payloads"),
    ],
)
async def test_what_cannot_be_carried_out_is_minus_32603_with_null_and_not_stored(
    dtm: Dtm, params: object, text: str
) -> None:
    answer = await call(dtm, "submit", params)
    assert answer["error"]["code"] == -32603
    assert text in answer["error"]["message"]
    assert answer["result"] is None
    assert not await dtm.is_stored("jrpc-1")


async def test_a_gid_is_not_stripped(dtm: Dtm, participant: Participant) -> None:
    gid = f"{new_gid()};a\nb"
    await call(dtm, "submit", {**saga(participant, "/a"), "gid": gid, "wait_result": True})
    assert (await dtm.transaction(gid))["gid"] == gid
