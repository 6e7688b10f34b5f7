"""A store behind a codec: only encoded bytes get through, and what fails hurts nobody else."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from flowtx.testing.journal_writes import begin, step
from flowtx_dsl.error_codec import ErrorRecord
from flowtx_engine.journal.codec import PayloadContext, head_of, is_encoded, stored_head, stored_size
from flowtx_engine.journal.encoded import EncodedStore
from flowtx_engine.journal.errors import JournalUnavailable, UnreadablePayload, UnstorableWrite
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.records import Filter, RowChange, Write
from flowtx_engine.kernel.events import (
    AnyFact,
    Attempted,
    Began,
    CallRecord,
    Cancelled,
    Changed,
    Decided,
    Doubted,
    Ended,
    Failed,
    Fired,
    Hastened,
    Kept,
    Parked,
    Refused,
    Returned,
    Signalled,
    Started,
    Stopped,
    Succeeded,
    Updated,
    decode_fact,
    encode_fact,
)

SECRET = "Bob's salary"


class Xor:
    """A codec with a key, and a list of gids that it fails on."""

    def __init__(self, key: int, *, fails_on: str = "", error: type[Exception] = ZeroDivisionError) -> None:
        self.key = key
        self.fails_on = fails_on
        self.error = error

    def _turn(self, data: bytes) -> bytes:
        return bytes(byte ^ self.key for byte in data)

    def encode(self, payload: bytes, context: PayloadContext) -> bytes:
        if context.gid == self.fails_on:
            raise self.error("the key service is away")
        return self._turn(b"ok" + payload)

    def decode(self, stored: bytes, context: PayloadContext) -> bytes:
        turned = self._turn(stored)
        if turned[:2] != b"ok":
            raise ValueError("wrong key")
        return turned[2:]

    def __repr__(self) -> str:
        return f"Xor({self.key})"


CALL = CallRecord(name="pay", where="bank.py:41", args=msgspec.Raw(msgspec.json.encode([SECRET])))
ERROR = ErrorRecord(type="bank:TooMuch", text=SECRET, notes=(SECRET,), trace=SECRET)
VALUE = msgspec.Raw(msgspec.json.encode(SECRET))
FACTS: list[AnyFact] = [
    Succeeded(call=CALL, value=msgspec.Raw(msgspec.json.encode(SECRET)), attempt=2),
    Refused(call=CALL, error=ERROR),
    Failed(call=CALL, error=ERROR),
    Attempted(call=CALL, outcome="unknown", error=ERROR, attempt=1, fault_count=1, retry_at=5.5),
    Cancelled(reason=SECRET),
    Ended(status="failed", error=ERROR),
    Ended(status="succeed", value=VALUE),
    Began(workflow="pay", input=VALUE, heard=(SECRET,)),
    Started(call=CALL, attempt=1),
    Doubted(call=CALL, error=ERROR, attempt=1),
    Decided(call=CALL, verdict="succeeded", value=VALUE, reason=SECRET),
    Fired(until_at=5.0, where="bank.py:41"),
    Stopped(reason=SECRET),
    Signalled(name="paid", value=VALUE, key=SECRET),
    Updated(name="paid", value=VALUE, key=SECRET),
    Hastened(),
    Kept(),
    Changed(change="fee"),
    Returned(value=VALUE),
    Parked(reason=SECRET),
]


def test_no_kind_of_event_is_forgotten() -> None:
    assert {type(fact) for fact in FACTS} == set(get_args(AnyFact))


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_the_head_of_an_event_is_a_fact_of_its_kind_without_any_payload(fact: AnyFact) -> None:
    head = head_of(encode_fact(fact))
    assert SECRET.encode() not in head
    read = decode_fact(head)
    assert type(read) is type(fact)
    if isinstance(fact, Succeeded) and isinstance(read, Succeeded):
        assert (read.call.name, read.call.where, read.attempt) == ("pay", "bank.py:41", 2)
    if isinstance(fact, Attempted) and isinstance(read, Attempted):
        assert (read.error.type, read.retry_at) == ("bank:TooMuch", 5.5)


def test_the_database_holds_no_payload_in_clear() -> None:
    inner = MemoryStore()
    store = EncodedStore(inner, Xor(7))
    new = begin("g")
    assert new.change is not None
    store.commit([msgspec.structs.replace(new, change=msgspec.structs.replace(new.change, input=SECRET.encode()))])
    rows = (msgspec.structs.replace(step("g", 1).rows[0], data=encode_fact(FACTS[0])),)
    change = RowChange(updated_at=9.0, reason=SECRET, last_error=SECRET, result=SECRET.encode())
    store.commit([Write(gid="g", rows=rows, change=change)])
    row, history = inner.transaction("g"), inner.history("g")
    assert row is not None
    assert SECRET not in repr((msgspec.structs.asdict(row), [msgspec.structs.asdict(one) for one in history]))
    assert (row.gid, row.workflow, row.status, history[1].kind) == ("g", "transfer", "submitted", "succeeded")
    assert b'"name":"pay"' in stored_head(history[1].data)
    assert stored_size(history[1].data) == len(rows[0].data) + 2
    read = store.transaction("g")
    assert read is not None
    assert (read.input, read.reason, read.last_error, read.result) == (SECRET.encode(), SECRET, SECRET, SECRET.encode())
    assert store.history("g")[1] == rows[0]


def test_what_was_written_without_a_codec_stays_readable_and_goes_on_encoded() -> None:
    inner = MemoryStore()
    inner.commit([begin("g"), step("g", 1)])
    before = inner.transaction("g"), inner.history("g")
    store = EncodedStore(inner, Xor(7))
    assert (store.transaction("g"), store.history("g")) == before
    assert store.commit([step("g", 2)]) == [None]
    assert [is_encoded(row.data) for row in inner.history("g")] == [False, False, True]
    assert store.history("g")[2] == step("g", 2).rows[0]


def test_a_payload_that_cannot_be_encoded_keeps_out_its_own_write_only() -> None:
    inner = MemoryStore()
    store = EncodedStore(inner, Xor(7, fails_on="bad"))
    results = store.commit([begin("a"), begin("bad"), begin("b"), step("bad", 1), step("a", 1)])
    assert [result is None for result in results] == [True, False, True, False, True]
    assert isinstance(results[1], UnstorableWrite)
    assert "Xor(7) cannot encode it: ZeroDivisionError: the key service is away" in str(results[1])
    assert inner.transaction("bad") is None
    assert len(inner.history("a")) == 2


def test_a_codec_that_is_away_for_a_while_makes_the_journal_unavailable() -> None:
    inner = MemoryStore()
    store = EncodedStore(inner, Xor(7, fails_on="g", error=JournalUnavailable))
    with pytest.raises(JournalUnavailable, match="the key service is away"):
        store.commit([begin("a"), begin("g")])
    assert inner.transaction("a") is None


def test_the_wrong_key_is_told_where_one_transaction_is_read_and_hides_no_other() -> None:
    inner = MemoryStore()
    EncodedStore(inner, Xor(7)).commit([begin("old", wake_at=1.0)])
    store = EncodedStore(inner, Xor(9))
    store.commit([begin("new", wake_at=1.0)])
    for read in (store.transaction, store.history):
        with pytest.raises(UnreadablePayload, match=r"transaction old: .* cannot be decoded by Xor\(9\): wrong key"):
            read("old")
    assert [row.gid for row in store.transactions(Filter(), before_id=None, limit=9)] == ["new", "old"]
    claimed = store.claim("node", 5.0, 9, [("transfer", "1")])
    assert [(row.gid, is_encoded(row.input)) for row in claimed] == [("old", True), ("new", False)]
