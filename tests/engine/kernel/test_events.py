"""The facts of a journal as they are stored: these bytes are in people's databases."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest

from flowtx_dsl.error_codec import ErrorRecord, encode_error
from flowtx_dsl.errors import Refused as RefusedError
from flowtx_engine.kernel.events import (
    LEAN_BYTES,
    AnyFact,
    Attempted,
    Began,
    CallRecord,
    Cancelled,
    Decided,
    Doubted,
    Ended,
    Failed,
    Fired,
    Parked,
    Refused,
    Returned,
    Started,
    Stopped,
    Succeeded,
    decode_fact,
    describe,
    encode_fact,
    kind_of,
    lean,
)

CALL = CallRecord(name="pay", where="bank.py:41", args=msgspec.Raw(b'["ann",30]'))
ERROR = encode_error(RefusedError("too poor"))
CALL_JSON = '{"name":"pay","where":"bank.py:41","args":["ann",30]}'
ERROR_JSON = '{"type":"flowtx_dsl.errors:Refused","text":"too poor","args":["too poor"],"state":{}}'

STORED: list[tuple[AnyFact, str, str, str]] = [
    (Began(workflow="transfer"), "began", '{"kind":"began","workflow":"transfer"}', "transfer version 1"),
    (
        Began(workflow="transfer", version="2"),
        "began",
        '{"kind":"began","workflow":"transfer","version":"2"}',
        "transfer version 2",
    ),
    (
        Began(workflow="transfer", starts_at=1_700_000_000.5),
        "began",
        '{"kind":"began","workflow":"transfer","starts_at":1700000000.5}',
        "transfer version 1, not before 2023-11-14T22:13:20.500000+00:00",
    ),
    (
        Began(workflow="transfer", starts_at=1.5, place="ann"),
        "began",
        '{"kind":"began","workflow":"transfer","starts_at":1.5,"place":"ann"}',
        "transfer version 1, when there is a free place",
    ),
    (
        Started(call=CALL, attempt=2),
        "started",
        f'{{"kind":"started","call":{CALL_JSON},"attempt":2}}',
        "pay attempt 2",
    ),
    (
        Doubted(call=CALL, error=ERROR, attempt=2),
        "doubted",
        f'{{"kind":"doubted","call":{CALL_JSON},"error":{ERROR_JSON},"attempt":2}}',
        "pay: too poor",
    ),
    (
        Decided(call=CALL, verdict="succeeded", value=msgspec.Raw(b"7"), attempt=2),
        "decided",
        f'{{"kind":"decided","call":{CALL_JSON},"verdict":"succeeded","value":7,"attempt":2}}',
        "pay: succeeded",
    ),
    (
        Attempted(call=CALL, outcome="unknown", error=ERROR, attempt=3, fault_count=2, retry_at=1.5),
        "attempted",
        f'{{"kind":"attempted","call":{CALL_JSON},"outcome":"unknown","error":{ERROR_JSON},'
        '"attempt":3,"fault_count":2,"retry_at":1.5}',
        "pay attempt 3: unknown, too poor",
    ),
    (
        Succeeded(call=CALL, value=msgspec.Raw(b'{"a":1}'), attempt=2),
        "succeeded",
        f'{{"kind":"succeeded","call":{CALL_JSON},"value":{{"a":1}},"attempt":2}}',
        'pay -> {"a":1}',
    ),
    (
        Succeeded(call=CallRecord(name="pay", digest="ab", size=5000)),
        "succeeded",
        '{"kind":"succeeded","call":{"name":"pay","digest":"ab","size":5000}}',
        "pay -> null",
    ),
    (
        Refused(call=CALL, error=ERROR),
        "refused",
        f'{{"kind":"refused","call":{CALL_JSON},"error":{ERROR_JSON}}}',
        "pay: too poor",
    ),
    (
        Failed(call=CALL, error=ERROR),
        "failed",
        f'{{"kind":"failed","call":{CALL_JSON},"error":{ERROR_JSON}}}',
        "pay: too poor",
    ),
    (
        Fired(until_at=2.5, where="bank.py:7"),
        "fired",
        '{"kind":"fired","until_at":2.5,"where":"bank.py:7"}',
        "the timer's time came",
    ),
    (Cancelled(reason="why"), "cancelled", '{"kind":"cancelled","reason":"why"}', "why"),
    (Stopped(), "stopped", '{"kind":"stopped"}', ""),
    (Parked(wake_at=9.0), "parked", '{"kind":"parked","wake_at":9.0}', "dropped from memory until its next wake-up"),
    (Parked(reason="lost"), "parked", '{"kind":"parked","reason":"lost"}', "lost"),
    (
        Ended(status="succeed", value=msgspec.Raw(b'"ok"')),
        "ended",
        '{"kind":"ended","status":"succeed","value":"ok"}',
        "succeed",
    ),
    (
        Ended(status="failed", error=ErrorRecord(type="a:B", text="broken")),
        "ended",
        '{"kind":"ended","status":"failed","error":{"type":"a:B","text":"broken"}}',
        "failed: broken",
    ),
]


@pytest.mark.parametrize(("fact", "kind", "stored", "told"), STORED)
def test_a_fact_is_stored_as_it_always_was(fact: AnyFact, kind: str, stored: str, told: str) -> None:
    assert encode_fact(fact).decode() == stored
    assert kind_of(fact) == kind
    assert describe(fact) == told
    again = decode_fact(stored.encode())
    assert type(again) is type(fact)
    assert encode_fact(again).decode() == stored
    assert describe(again) == told


def test_what_older_versions_left_out_has_its_default() -> None:
    fact = decode_fact(b'{"kind":"fired","until_at":2.5}')
    assert fact == Fired(until_at=2.5)
    succeeded = decode_fact(b'{"kind":"succeeded","call":{"name":"pay"}}')
    assert isinstance(succeeded, Succeeded)
    assert (bytes(succeeded.value), succeeded.attempt, bytes(succeeded.call.args)) == (b"null", 1, b"[]")


@pytest.mark.parametrize("data", [b"", b"{}", b'{"kind":"unheard of"}', b'{"kind":"fired"}'])
def test_a_fact_that_this_version_does_not_know_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_fact(data)


@pytest.mark.parametrize("size", [10, LEAN_BYTES - 2, LEAN_BYTES])
def test_a_large_value_is_a_view_into_what_is_stored_and_the_same_fact(size: int) -> None:
    value = msgspec.Raw(b'"' + b"x" * (size - 2) + b'"')
    facts: list[AnyFact] = [
        Succeeded(call=CallRecord(name="pay"), value=value),
        Returned(value=value),
        Ended(status="succeed", value=value),
    ]
    for fact in facts:
        found, data = lean(fact)
        assert found == fact
        assert data == (encode_fact(fact) if size >= LEAN_BYTES else b"")
    tracemalloc.start()
    try:
        _, data = lean(facts[0])
        assert tracemalloc.get_traced_memory()[0] < 2 * len(data) + 10_000
    finally:
        tracemalloc.stop()
