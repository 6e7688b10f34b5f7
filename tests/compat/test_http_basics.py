"""HTTP as DTM speaks it: checks 1 to 19."""

from __future__ import annotations

import json

import pytest

from tests.compat.dtm import SUCCESS, Dtm
from tests.compat.orders import new_gid, saga
from tests.compat.web import Participant

PARTICIPANTLESS = {"trans_type": "saga", "steps": [{"action": "", "compensate": ""}], "payloads": [""]}


async def test_001_two_new_gids_differ(dtm: Dtm) -> None:
    first, second = await dtm.get("newGid"), await dtm.get("newGid")
    assert (first.status, first.json["dtm_result"]) == (200, "SUCCESS")
    assert list(first.json) == ["dtm_result", "gid"]
    assert first.json["gid"] != second.json["gid"] != ""


async def test_002_version_is_one_string(dtm: Dtm) -> None:
    answer = await dtm.get("version")
    assert answer.status == 200
    assert list(answer.json) == ["version"]
    assert isinstance(answer.json["version"], str)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"])
async def test_003_ping_answers_every_method(dtm: Dtm, method: str) -> None:
    answer = await dtm.ask(method, "/api/ping")
    assert (answer.status, answer.body) == (200, b'{"msg":"pong"}')


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/dtmsvr/newGid"),
        ("GET", "/api/dtmsvr/submit"),
        ("DELETE", "/api/dtmsvr/submit"),
        ("OPTIONS", "/api/dtmsvr/submit"),
        ("HEAD", "/api/dtmsvr/newGid"),
        ("GET", "/api/dtmsvr/NEWGID"),
        ("GET", "/api/dtmsvr/nothing"),
        ("GET", "/"),
    ],
)
async def test_005_a_known_path_with_another_method_is_not_found(dtm: Dtm, method: str, path: str) -> None:
    answer = await dtm.ask(method, path)
    assert answer.status == 404
    assert answer.headers["content-type"] == "text/plain"
    assert answer.body == (b"" if method == "HEAD" else b"404 page not found")


async def test_006_a_trailing_slash_is_redirected(dtm: Dtm) -> None:
    got = await dtm.ask("GET", "/api/dtmsvr/newGid/?a=1")
    assert (got.status, got.headers["location"]) == (301, "/api/dtmsvr/newGid?a=1")
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    posted = await dtm.ask("POST", "/api/dtmsvr/submit/", b"{}")
    assert (posted.status, posted.headers["location"]) == (307, "/api/dtmsvr/submit")
    unknown = await dtm.ask("GET", "/api/dtmsvr/nothing/")
    assert unknown.status == 404


async def test_006_a_doubled_slash_counts_as_one(dtm: Dtm) -> None:
    assert (await dtm.ask("GET", "/api/dtmsvr//newGid")).status == 200


@pytest.mark.parametrize("body", [b"x", b"", b"{", b"[]", b'{"gid":"g"} trailing', b"\xff\xfe"])
async def test_007_008_a_body_that_is_not_json_is_an_error_with_a_message_only(dtm: Dtm, body: bytes) -> None:
    answer = await dtm.post("submit", body)
    assert answer.status == 500
    assert list(answer.json) == ["message"]
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("trans_type", ["", "nonsense", "Saga", None])
async def test_009_an_unknown_trans_type_is_an_error_and_nothing_is_stored(dtm: Dtm, trans_type: str | None) -> None:
    gid = new_gid()
    answer = await dtm.post("submit", {**PARTICIPANTLESS, "gid": gid, "trans_type": trans_type})
    assert (answer.status, list(answer.json)) == (500, ["message"])
    assert not await dtm.is_stored(gid)


async def test_009_an_empty_request_is_an_error(dtm: Dtm) -> None:
    assert (await dtm.post("submit", {})).status == 500


async def test_010_a_trans_type_that_is_a_number_is_named(dtm: Dtm) -> None:
    answer = await dtm.post("submit", {**PARTICIPANTLESS, "gid": new_gid(), "trans_type": 3})
    assert answer.status == 500
    assert "trans_type" in answer.json["message"]
    assert "integer" in answer.json["message"]


@pytest.mark.parametrize("timeout", [b"3.0", b'"3"', b"3e0", b"true"])
async def test_011_an_integer_is_written_as_one(dtm: Dtm, timeout: bytes) -> None:
    answer = await dtm.post("submit", b'{"gid":"g","trans_type":"saga","timeout_to_fail":' + timeout + b"}")
    assert answer.status == 500
    assert "timeout_to_fail" in answer.json["message"]


async def test_012_nulls_are_empty(dtm: Dtm) -> None:
    gid = new_gid()
    nulls = dict.fromkeys(["steps", "payloads", "custom_data", "query_prepared", "protocol"])
    answer = await dtm.post("submit", {"gid": gid, "trans_type": "saga", **nulls})
    assert (answer.status, answer.body) == (200, SUCCESS)
    assert (await dtm.until(gid, "succeed"))["protocol"] == "http"


async def test_013_unknown_keys_are_ignored(dtm: Dtm) -> None:
    extra = b'"passthrough_headers":["a"],"subType":1,"subType":2,"branch_id":"","phase2_url":null,"barrier_id":0'
    gid = new_gid().encode()
    answer = await dtm.post("submit", b'{"gid":"' + gid + b'","trans_type":"saga",' + extra + b"}")
    assert (answer.status, answer.body) == (200, SUCCESS)


async def test_014_the_case_of_keys_does_not_matter(dtm: Dtm, participant: Participant) -> None:
    order = saga(participant, "/a", wait_result=True)
    answer = await dtm.post("submit", {key.upper(): value for key, value in order.items()})
    assert answer.status == 200
    assert await dtm.rows(order["gid"]) == "P S"


async def test_015_semicolons_and_newlines_are_taken_out_of_the_gid(dtm: Dtm, participant: Participant) -> None:
    given = new_gid()
    answer = await dtm.post("submit", saga(participant, "/a", gid=f"{given};b\r\nc d", wait_result=True))
    assert answer.status == 200
    assert (await dtm.transaction(f"{given}bc d"))["gid"] == f"{given}bc d"
    assert participant.calls[0].query == f"branch_id=01&gid={given}bc+d&op=action&trans_type=saga"


async def test_016_fewer_payloads_than_steps_are_an_error_and_nothing_is_stored(
    dtm: Dtm, participant: Participant
) -> None:
    order = saga(participant, "/a", "/b", payloads=["{}"])
    answer = await dtm.post("submit", order)
    assert answer.status == 500
    assert "2 steps and 1 payloads" in answer.json["message"]
    assert not await dtm.is_stored(order["gid"])


async def test_016_more_payloads_than_steps_are_ignored(dtm: Dtm, participant: Participant) -> None:
    answer = await dtm.post("submit", saga(participant, "/a", payloads=["1", "2"], wait_result=True))
    assert answer.status == 200
    assert [call.body for call in participant.calls] == [b"1"]


async def test_017_old_clients_put_the_payload_into_the_step(dtm: Dtm, participant: Participant) -> None:
    order = saga(participant, "/a", payloads=None, wait_result=True)
    order["steps"][0]["data"] = '{"old":true}'
    assert (await dtm.post("submit", order)).status == 200
    assert participant.calls[0].body == b'{"old":true}'


async def test_018_an_ampersand_in_an_answer_is_escaped(dtm: Dtm) -> None:
    gid = new_gid()
    order = {"gid": gid, "trans_type": "saga", "steps": [{"action": "http://127.0.0.1:1/?a=1&b=<2>"}], "payloads": [""]}
    await dtm.post("submit", order)
    answer = await dtm.get(f"query?gid={gid}")
    assert rb"a=1\u0026b=\u003c2\u003e" in answer.body
    assert answer.json["branches"][1]["url"] == "http://127.0.0.1:1/?a=1&b=<2>"


async def test_019_an_acknowledgement_is_exactly_this(dtm: Dtm) -> None:
    for wait_result in (False, True):
        answer = await dtm.post("submit", {"gid": new_gid(), "trans_type": "saga", "wait_result": wait_result})
        assert (answer.status, answer.body) == (200, SUCCESS)
        assert answer.headers["content-type"] == "application/json; charset=utf-8"


async def test_the_content_type_of_a_request_does_not_matter(dtm: Dtm) -> None:
    body = json.dumps({"gid": new_gid(), "trans_type": "saga"}).encode()
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
        answer = await dtm.ask(
            "POST",
            "/api/dtmsvr/submit",
            body.replace(b"gid-", content_type[-4:].encode() + b"-gid-"),
            (("Content-Type", content_type),),
        )
        assert (answer.status, answer.body) == (200, SUCCESS)


async def test_a_body_on_get_is_ignored(dtm: Dtm) -> None:
    answer = await dtm.ask("GET", "/api/dtmsvr/query?gid=unknown", b"not json")
    assert (answer.status, answer.json) == (200, {"branches": [], "transaction": None})


async def test_a_body_over_the_limit_is_refused_in_words(dtm: Dtm) -> None:
    answer = await dtm.post("submit", b" " * 20_000_000)
    assert answer.status == 413
    assert "longer than the 16777216 bytes" in answer.json["message"]
    assert (await dtm.get("newGid")).status == 200


@pytest.mark.parametrize("gid", ["", "x" * 129, None])
async def test_a_gid_that_cannot_be_is_refused_and_nothing_is_stored(fresh_dtm: Dtm, gid: str | None) -> None:
    answer = await fresh_dtm.post("submit", {"gid": gid, "trans_type": "saga"})
    assert answer.status == 500
    assert "the gid" in answer.json["message"]
    assert (await fresh_dtm.get("all")).json["transactions"] == []


async def test_a_client_cannot_set_what_is_the_servers(dtm: Dtm) -> None:
    gid = new_gid()
    given = {"id": 99, "owner": "me", "status": "failed", "result": "r", "create_time": "2001-01-01T00:00:00Z"}
    assert (await dtm.post("submit", {"gid": gid, "trans_type": "saga", **given})).body == SUCCESS
    found = await dtm.until(gid, "succeed")
    assert found["id"] != 99
    assert "owner" not in found
    assert "result" not in found
    assert not found["create_time"].startswith("2001")
