"""From outcomes to answers, and from query strings to their first values."""

from __future__ import annotations

import pytest

from flowtx.dtm.outcomes import Done, DtmError, DtmFailure, DtmOngoing, Outcome
from flowtx.dtm.routes import answer_unrouted, parse_query, spell


@pytest.mark.parametrize(
    ("outcome", "status", "body"),
    [
        (Done(), 200, b'{"dtm_result":"SUCCESS"}'),
        (Done({"gid": "g"}), 200, b'{"gid":"g"}'),
        (DtmFailure("no"), 409, b'{"dtm_result":"FAILURE","message":"no FAILURE"}'),
        (DtmFailure("no FAILURE"), 409, b'{"dtm_result":"FAILURE","message":"no FAILURE"}'),
        (DtmOngoing("ONGOING"), 425, b'{"dtm_result":"ONGOING","message":"ONGOING"}'),
        (DtmError("<broken>"), 500, b'{"message":"\\u003cbroken\\u003e"}'),
        (DtmError("full", kind="overloaded"), 503, b'{"message":"full"}'),
    ],
)
def test_an_outcome_is_spelled_as_dtm_does(outcome: Outcome, status: int, body: bytes) -> None:
    answer = spell(outcome)
    assert (answer.status, answer.body) == (status, body)


def test_of_several_values_of_one_name_the_first_counts() -> None:
    assert parse_query(b"gid=a%20b&gid=c&limit=&x=%C3%B6+") == {"gid": "a b", "limit": "", "x": "ö "}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/dtmsvr/newGid/", 301),
        ("POST", "/api/dtmsvr/submit/", 307),
        ("DELETE", "/api/ping/", 307),
        ("HEAD", "/api/dtmsvr/newGid/", 404),
        ("POST", "/api/dtmsvr/newGid/", 404),
        ("GET", "/api/dtmsvr/", 404),
        ("GET", "/", 404),
    ],
)
def test_only_a_route_with_a_slash_too_many_is_redirected(method: str, path: str, status: int) -> None:
    answer = answer_unrouted(method, path, b"")
    assert answer.status == status
    assert bool(answer.location) == (status != 404)
