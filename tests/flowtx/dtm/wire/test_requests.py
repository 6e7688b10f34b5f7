"""Requests by example: how the clients of other languages spell them, and what a wrong one is told."""

from __future__ import annotations

import pytest

from flowtx.dtm.wire.errors import RequestError, UndecodableError
from flowtx.dtm.wire.go_json import parse
from flowtx.dtm.wire.requests import (
    BranchRequest,
    TransactionRequest,
    check_gid,
    parse_branch_request,
    parse_transaction_request,
    read_branch_request,
)

DTMCLI = b"""{"gid": "g1", "trans_type": "saga", "custom_data": null, "steps": [{"action": "http://a/do",
  "compensate": "http://a/undo"}], "payloads": ["{\\"amount\\": 30}"], "query_prepared": null, "protocol": null,
  "wait_result": false, "timeout_to_fail": 0, "request_timeout": 8, "retry_interval": 0, "passthrough_headers": [],
  "branch_headers": {}, "concurrent": false}"""

JAVA = b"""{
  "gid" : "g1", "transType" : "x", "trans_type" : "saga", "subType" : 1, "subType" : 2, "waitResult" : true,
  "steps" : [ { "action" : "http://a/do", "compensate" : "http://a/undo" } ], "payloads" : [ "{}" ],
  "branch_id" : "", "sub_branch_id" : 0, "phase2_url" : null, "barrier_id" : 0, "branch_headers" : null
}"""

PHP = b'{"gid":"g1","trans_type":"saga","steps":[{"action":"http://a/do"}],"payloads":["p"],"branch_headers":[]}'


def test_the_python_clients_request_is_read() -> None:
    assert parse_transaction_request(DTMCLI) == TransactionRequest(
        gid="g1",
        trans_type="saga",
        steps=({"action": "http://a/do", "compensate": "http://a/undo"},),
        payloads=(b'{"amount": 30}',),
        request_timeout=8,
    )


def test_the_java_clients_request_is_read_with_its_repeated_and_unknown_keys() -> None:
    request = parse_transaction_request(JAVA)
    assert (request.gid, request.trans_type, request.payloads) == ("g1", "saga", (b"{}",))


def test_phps_empty_array_is_an_empty_map() -> None:
    request = parse_transaction_request(PHP)
    assert request.branch_headers == {}
    assert request.payloads == (b"p",)


def test_goes_long_s_and_kelvin_sign_are_letters_in_keys() -> None:
    assert (
        parse_transaction_request('{"\u017fteps": [], "gid": "g", "TRANS_TYPE": "saga"}'.encode()).trans_type == "saga"
    )
    assert len(parse_transaction_request('{"\u017fteps": [{}]}'.encode()).steps) == 1


@pytest.mark.parametrize(
    "ignored", ["id", "owner", "result", "status", "options", "ext_data", "retry_count", "create_time", "update_time"]
)
def test_what_only_the_server_may_set_is_ignored(ignored: str) -> None:
    body = b'{"gid":"g","%s":{"any":["thing"]}}' % ignored.encode()
    assert parse_transaction_request(body) == TransactionRequest(gid="g")


def test_old_clients_payloads_come_after_the_others() -> None:
    request = parse_transaction_request(b'{"steps":[{"data":"b"},{"data":""},{"data":"c"}],"payloads":["a"]}')
    assert request.payloads == (b"a", b"b", b"c")


def test_newlines_and_semicolons_are_taken_out_of_a_gid() -> None:
    assert parse_transaction_request(b'{"gid":"a;b\\r\\nc"}').gid == "abc"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON: Expecting value at character 0"),
        (b"{} {}", "the body is not JSON: Extra data at character 3"),
        (b"[]", "the body is an array, expected an object"),
        (b'"x"', "the body is a string, expected an object"),
        (b'{"gid":7}', "field gid: expected a string, got an integer"),
        (b'{"trans_type":1.5}', "field trans_type: expected a string, got a number with a fraction or an exponent"),
        (
            b'{"timeout_to_fail":3.0}',
            "field timeout_to_fail: expected an integer, got a number with a fraction or an exponent",
        ),
        (b'{"timeout_to_fail":"3"}', "field timeout_to_fail: expected an integer, got a string"),
        (b'{"timeout_to_fail":true}', "field timeout_to_fail: expected an integer, got a boolean"),
        (b'{"retry_limit":9223372036854775808}', "field retry_limit: the integer does not fit into 64 bits"),
        (b'{"wait_result":1}', "field wait_result: expected a boolean, got an integer"),
        (b'{"payloads":["a",{}]}', "field payloads[1]: expected a string, got an object"),
        (b'{"payloads":"a"}', "field payloads: expected an array of strings, got a string"),
        (b'{"steps":[{"action":3}]}', "field steps[0].action: expected a string, got an integer"),
        (b'{"steps":{}}', "field steps: expected an array of objects of strings, got an object"),
        (b'{"branch_headers":["a"]}', "field branch_headers: expected an object of strings, got an array"),
        (b'{"concurrent":NaN}', "the body is not JSON: NaN is not a JSON value"),
    ],
)
def test_a_wrong_request_is_told_the_field_and_what_is_wrong(body: bytes, message: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_transaction_request(body)
    assert refused.value.message == message


@pytest.mark.parametrize("gid", ["", "x" * 129, "a\0b"])
def test_a_gid_that_no_transaction_can_have_is_refused(gid: str) -> None:
    with pytest.raises(RequestError, match="the gid"):
        check_gid(gid)


def test_a_gid_may_have_128_characters() -> None:
    check_gid("ö" * 128)


def test_a_branch_is_read_from_a_flat_object_of_texts() -> None:
    body = (
        b'{"gid":"g;1","branch_id":"01","trans_type":"tcc","data":"{\\"a\\":1}","confirm":"c","cancel":"x","op":"try",'
        b'"dtm":"http://d","phase2_url":null,"branch_type":"tcc"}'
    )
    assert parse_branch_request(body) == BranchRequest(
        gid="g1", branch_id="01", trans_type="tcc", data=b'{"a":1}', confirm="c", cancel="x", op="try"
    )


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[1]", b'"x"', b'{"gid":1}', b'{"gid":"g","unknown":{}}', b"{} {}"]
)
def test_a_branch_that_is_none_cannot_be_decoded(body: bytes) -> None:
    with pytest.raises(UndecodableError):
        parse_branch_request(body)


def test_a_branch_that_came_over_json_rpc_keeps_its_gid() -> None:
    assert read_branch_request(parse(b'{"gid":"g;1"}')).gid == "g;1"
    with pytest.raises(RequestError, match="expected an object of strings"):
        read_branch_request(parse(b"[1]"))
