"""Query strings of ``all``: pages, bounds in milliseconds, numbers that are none."""

from __future__ import annotations

import pytest

from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.queries import PAGE_MAX, ListRequest, atoi, parse_list_request


def test_nothing_asked_is_the_first_hundred() -> None:
    assert parse_list_request({}) == ListRequest(limit=100)


def test_both_bounds_of_time_are_inside_to_the_millisecond() -> None:
    request = parse_list_request({"createTimeStart": "1700000000123", "createTimeEnd": "1700000000123"})
    assert request.created_from_at is not None
    assert request.created_to_at is not None
    assert request.created_from_at <= 1_700_000_000.1230 <= request.created_to_at
    assert request.created_from_at <= 1_700_000_000.1239 <= request.created_to_at
    assert not request.created_from_at <= 1_700_000_000.1229
    assert not request.created_to_at >= 1_700_000_000.1245


@pytest.mark.parametrize(("limit", "taken"), [("1", 1), ("0", PAGE_MAX), ("-3", PAGE_MAX), ("99999999", PAGE_MAX)])
def test_a_page_has_a_longest_length(limit: str, taken: int) -> None:
    assert parse_list_request({"limit": limit}).limit == taken


def test_a_position_is_a_number_but_beside_a_gid_only_an_echo() -> None:
    assert parse_list_request({"position": "17"}).before_id == 17
    assert parse_list_request({"position": "x", "gid": "g"}) == ListRequest(gid="g", position="x")
    with pytest.raises(RequestError):
        parse_list_request({"position": "x"})


@pytest.mark.parametrize(
    ("text", "number"), [("7", 7), ("+7", 7), ("-7", -7), ("007", 7), ("9223372036854775807", 2**63 - 1)]
)
def test_numbers_are_read_as_go_reads_them(text: str, number: int) -> None:
    assert atoi(text) == number


@pytest.mark.parametrize("text", ["", "+", "--7", "+-7", "7.0", "1e3", " 7", "7_0", "٧", "9223372036854775808", "0x7"])
def test_what_go_does_not_take_for_a_number_is_none(text: str) -> None:
    with pytest.raises(RequestError, match="convert to int error"):
        atoi(text)
