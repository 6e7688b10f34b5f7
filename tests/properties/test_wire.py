"""The laws of DTM's wire: whatever comes in is read or refused, never more; what goes out reads as Go reads it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from urllib.parse import urlencode
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowtx.dtm.gids import ALPHABET, spell_uuid
from flowtx.dtm.orders import saga_of
from flowtx.dtm.routes import parse_query
from flowtx.dtm.wire import answers, grpc_requests
from flowtx.dtm.wire.errors import RequestError, UndecodableError
from flowtx.dtm.wire.options import decode_options, encode_options, options_of
from flowtx.dtm.wire.queries import parse_hasten_request, parse_list_request, parse_scan_request
from flowtx.dtm.wire.requests import (
    READERS,
    TransactionRequest,
    parse_branch_request,
    parse_transaction_request,
    read_slowly,
    strip_gid,
)
from flowtx.dtm.wire.views import BranchView, TransactionView, spell_time
from flowtx.settings import Settings

FIELDS = [*sorted(READERS), "passthrough_headers", "subType", "id"]
INT64 = st.integers(-(2**63), 2**63 - 1)
# Text as clients write it: JSON cannot carry lone surrogates in UTF-8.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
fitting = st.fixed_dictionaries(
    {},
    optional={
        "gid": TEXT | st.none(),
        "trans_type": TEXT | st.none(),
        "steps": st.lists(st.dictionaries(st.sampled_from(["action", "compensate", "data"]), TEXT), max_size=3)
        | st.none(),
        "payloads": st.lists(TEXT, max_size=3) | st.none(),
        "query_prepared": TEXT | st.none(),
        "protocol": TEXT | st.none(),
        "custom_data": TEXT | st.none(),
        "rollback_reason": TEXT,
        "req_extra": st.dictionaries(TEXT, TEXT, max_size=2) | st.none(),
        "wait_result": st.booleans() | st.none(),
        "timeout_to_fail": INT64 | st.none(),
        "request_timeout": INT64,
        "retry_interval": INT64,
        "branch_headers": st.dictionaries(TEXT, TEXT, max_size=2) | st.none(),
        "concurrent": st.booleans(),
        "retry_limit": INT64,
        "passthrough_headers": st.lists(TEXT, max_size=2) | st.none(),
    },
)


@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 100_000)
@example(b"9" * 5_000)
@example(b'{"gid":"\\ud800"}')
@example(b'{"gid":"\xff"}')
@example(b'{"gid":NaN}')
@example(b"\xef\xbb\xbf{}")
@example(b'{"steps":[{"\\udfff":"x"}]}')
def test_any_bytes_are_a_request_or_a_refusal(body: bytes) -> None:
    try:
        request = parse_transaction_request(body)
    except RequestError as error:
        answers.error(error.message).decode()
    else:
        assert "\n" not in request.gid
        encode_options(options_of(request, retry_interval_s=10))


@given(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=6))
def test_the_quick_reader_and_the_slow_one_agree(fields: dict[str, object]) -> None:
    check_readers_agree(json.dumps(fields).encode())


@given(fitting)
def test_the_quick_reader_and_the_slow_one_agree_on_what_clients_send(fields: dict[str, object]) -> None:
    check_readers_agree(json.dumps(fields).encode())


def check_readers_agree(body: bytes) -> None:
    slow: TransactionRequest | None
    try:
        slow = read_slowly(body)
    except RequestError:
        slow = None
    try:
        assert parse_transaction_request(body) == slow
    except RequestError:
        assert slow is None


@given(fitting, st.data())
def test_the_case_of_keys_does_not_matter(fields: dict[str, object], data: st.DataObject) -> None:
    def recased(key: str) -> str:
        ups = data.draw(st.lists(st.booleans(), min_size=len(key), max_size=len(key)))
        return "".join(letter.upper() if up else letter for letter, up in zip(key, ups, strict=True))

    body = json.dumps({recased(key): value for key, value in fields.items()}).encode()
    assert parse_transaction_request(body) == parse_transaction_request(json.dumps(fields).encode())


@given(fitting, st.sampled_from(sorted(READERS)))
def test_null_is_the_same_as_nothing(fields: dict[str, object], name: str) -> None:
    without = {key: value for key, value in fields.items() if key != name}
    with_null = {**fields, name: None}
    assert parse_transaction_request(json.dumps(with_null).encode()) == parse_transaction_request(
        json.dumps(without).encode()
    )


@given(fitting, fitting)
def test_the_last_of_several_wins(first: dict[str, object], second: dict[str, object]) -> None:
    both = json.dumps(first)[:-1] + (", " if first and second else "") + json.dumps(second)[1:]
    merged = {**first, **second}
    assert parse_transaction_request(both.encode()) == parse_transaction_request(json.dumps(merged).encode())


@given(fitting, st.text(st.characters(exclude_characters=" \t\r\n", exclude_categories=["Cs"]), min_size=1))
def test_text_after_the_document_is_refused(fields: dict[str, object], rest: str) -> None:
    with pytest.raises(RequestError, match="not JSON"):
        parse_transaction_request((json.dumps(fields) + rest).encode())


@given(fitting)
def test_every_request_is_a_saga_or_says_why_not(fields: dict[str, object]) -> None:
    request = parse_transaction_request(json.dumps(fields).encode())
    try:
        order = saga_of(request, Settings())
    except RequestError:
        return
    assert [step.branch_id for step in order.steps] == [f"{i:02d}" for i in range(1, len(request.steps) + 1)]
    assert tuple(step.payload for step in order.steps) == request.payloads[: len(order.steps)]
    assert order.retry_interval_s >= 1
    assert order.request_timeout_s >= 1


@given(fitting)
def test_options_come_back_as_they_were_stored(fields: dict[str, object]) -> None:
    options = options_of(parse_transaction_request(json.dumps(fields).encode()), retry_interval_s=10)
    assert decode_options(encode_options(options)) == options
    text = json.loads(options.text)
    assert text["concurrent"] is options.concurrent
    assert all(value for name, value in text.items() if name != "concurrent")


@given(anything)
def test_what_is_answered_is_json_that_no_browser_takes_for_a_page(value: object) -> None:
    body = answers.encode(value)
    assert json.loads(body) == msgspec.json.decode(msgspec.json.encode(value))
    assert not any(character in body.decode() for character in "&<>\u2028\u2029")


@given(TEXT)
def test_a_stripped_gid_stays_as_it_is(gid: str) -> None:
    stripped = strip_gid(gid)
    assert strip_gid(stripped) == stripped
    assert not set(stripped) & set("\n\r;")
    assert set(gid) - set(stripped) <= set("\n\r;")


@given(
    st.dictionaries(
        st.sampled_from(["gid", "position", "limit", "createTimeStart", "createTimeEnd"]), TEXT | INT64.map(str)
    )
)
def test_any_query_is_a_page_or_a_refusal(query: dict[str, str]) -> None:
    try:
        assert parse_list_request(query).limit > 0
    except RequestError as error:
        told = error.message
    else:
        return
    assert told.startswith("convert to int error: ")


@given(st.binary(max_size=60) | st.dictionaries(st.sampled_from(["limit", "position", "timeout"]), TEXT).map(urlencode))
@example(b"limit=%d9%a0&timeout=%FF")
@example("limit=" + "9" * 5_000)
def test_any_query_string_is_a_request_of_each_kind_or_a_refusal(query: bytes | str) -> None:
    found = parse_query(query.encode() if isinstance(query, str) else query)
    readers: tuple[Callable[[Mapping[str, str]], object], ...] = (
        parse_list_request,
        parse_scan_request,
        partial(parse_hasten_request, timeout_s=5),
    )
    for read in readers:
        try:
            read(found)
        except RequestError as error:
            answers.error(error.message)


branch_fields = st.dictionaries(st.sampled_from(["gid", "branch_id", "trans_type", "data", "op", "GID"]), anything)


@given(st.binary(max_size=200) | branch_fields.map(json.dumps).map(str.encode))
@example(b'{"gid":"\\ud800","\\udfff":"x"}')
def test_any_bytes_are_a_branch_of_texts_or_a_refusal(body: bytes) -> None:
    try:
        branch = parse_branch_request(body)
    except UndecodableError as error:
        answers.error(error.message)
    else:
        assert "\n" not in branch.gid
        msgspec.json.encode(branch)


@given(st.binary(max_size=200))
def test_any_bytes_over_grpc_are_a_request_that_can_be_stored_or_a_refusal(message: bytes) -> None:
    for read in (grpc_requests.parse_transaction_request, grpc_requests.parse_branch_request):
        try:
            msgspec.json.encode(read(message))
        except RequestError as error:
            answers.error(error.message)


@given(st.uuids())
def test_a_gid_is_the_uuid_in_base_57(uuid: UUID) -> None:
    gid = spell_uuid(uuid)
    assert sum(ALPHABET.index(digit) * 57**i for i, digit in enumerate(gid)) == uuid.int
    assert 13 <= len(gid) <= 22
    assert not {"I", "l", "O", "0", "1"} & set(gid)


@given(st.floats(0, 253_402_300_799))
def test_a_time_reads_back_to_the_microsecond(at: float) -> None:
    text = spell_time(at)
    assert text.endswith("Z")
    assert not text.endswith(("0Z", ".Z")) or "." not in text
    assert datetime.fromisoformat(text).timestamp() == pytest.approx(at, abs=1e-6)


@given(st.floats(allow_nan=False))
def test_every_instant_has_a_spelling(at: float) -> None:
    datetime.fromisoformat(spell_time(at))


@given(st.builds(TransactionView, gid=TEXT, status=TEXT, rollback_reason=TEXT, next_cron_interval=INT64))
def test_a_transaction_reads_back_as_it_was_written(view: TransactionView) -> None:
    assert msgspec.json.decode(answers.encode(view), type=TransactionView) == view


@given(st.builds(BranchView, gid=TEXT, url=TEXT, bin_data=st.binary()))
def test_a_branch_reads_back_as_it_was_written(view: BranchView) -> None:
    assert msgspec.json.decode(answers.encode(view), type=BranchView) == view
