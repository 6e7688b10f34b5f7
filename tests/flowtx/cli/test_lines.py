"""A journal as lines: every kind of event says what happened, and nothing is made up."""

import typing

import msgspec
import pytest

from flowtx.cli.lines import SHOWN_MAX, Line, Mood, cut, lines_of, spell_call
from flowtx_dsl.error_codec import ErrorRecord
from flowtx_dsl.patterns.saga import SagaOrder, SagaStep
from flowtx_engine.journal.records import Transaction
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
    Event,
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
)
from tests.rows import transaction_row

CALL = CallRecord(name="withdraw", args=msgspec.Raw(b'["alice",3000]'))
ERROR = ErrorRecord(type="flowtx_dsl.errors:Refused", text="no funds")
BUG = ErrorRecord(type="builtins:ValueError", text="odd")


def line_of(fact: AnyFact, address: str = "", row: Transaction | None = None) -> Line:
    (line,) = lines_of(row or transaction_row(), [Event(seq=0, at=5.0, address=address, fact=fact)])
    return line


def line(place: str, what: str, outcome: str, mood: Mood, *, op: str = "", note: str = "") -> Line:
    return Line(at=5.0, place=place, op=op, what=what, outcome=outcome, mood=mood, note=note)


WITHDRAW = 'withdraw("alice", 3000)'
STEP_LINES: list[tuple[AnyFact, str, Line]] = [
    (Succeeded(call=CALL), "0", line("0", WITHDRAW, "succeeded", "good", op="action")),
    (
        Succeeded(call=CALL, value=msgspec.Raw(b"7")),
        "0",
        line("0", WITHDRAW, "succeeded", "good", op="action", note="-> 7"),
    ),
    (Succeeded(call=CALL, attempt=3), "0/c", line("0", WITHDRAW, "succeeded, attempt 3", "good", op="compensate")),
    (Refused(call=CALL, error=ERROR), "1", line("1", WITHDRAW, "refused", "bad", op="action", note="no funds")),
    (
        Failed(call=CALL, error=BUG, attempt=2),
        "1",
        line("1", WITHDRAW, "given up, attempt 2", "bad", op="action", note="ValueError: odd"),
    ),
    (
        Attempted(call=CALL, outcome="unknown", error=BUG, attempt=1, fault_count=1, retry_at=7.25),
        "1",
        line("1", WITHDRAW, "unknown", "waiting", op="action", note="ValueError: odd; again in 2.2 s"),
    ),
    (Started(call=CALL, attempt=1), "1", line("1", WITHDRAW, "begins", "plain", op="action")),
    (
        Doubted(call=CALL, error=BUG, attempt=1),
        "1",
        line("1", WITHDRAW, "in doubt", "bad", op="action", note="ValueError: odd; a person must decide"),
    ),
    (
        Decided(call=CALL, verdict="succeeded", value=msgspec.Raw(b"7")),
        "1",
        line("1", WITHDRAW, "decided: succeeded", "plain", op="action", note="-> 7"),
    ),
    (
        Decided(call=CALL, verdict="refused", reason="no record of it", attempt=2),
        "1",
        line("1", WITHDRAW, "decided: refused, attempt 2", "plain", op="action", note="no record of it"),
    ),
    (Fired(until_at=5.0), "2", line("2", "sleep", "is over", "plain")),
]
RUN_LINES: list[tuple[AnyFact, str, Line]] = [
    (Began(workflow="transfer"), "", line("", "transfer version 1", "began", "plain")),
    (Cancelled(reason="enough"), "", line("", "cancel", "was asked for", "plain", note="enough")),
    (Stopped(reason="now"), "", line("", "stop", "by force", "bad", note="now")),
    (Signalled(name="paid", value=msgspec.Raw(b"3")), "", line("", "signal paid", "came", "plain", note="3")),
    (
        Updated(name="add", key="k", value=msgspec.Raw(b"3")),
        "",
        line("", "update add", "was asked for", "plain", note="3"),
    ),
    (Kept(), "", line("", "keep", "the parent has succeeded", "good")),
    (Changed(change="fee"), "", line("", "change fee", "is in force", "plain")),
    (Returned(value=msgspec.Raw(b"3")), "", line("", "return", "waits for its parent", "waiting", note="-> 3")),
    (Hastened(), "", line("", "hasten", "was asked for", "plain")),
    (Parked(wake_at=9.0), "", line("", "park", "until it is due", "waiting")),
    (
        Parked(reason="left its history\n  -> Put it back."),
        "",
        line("", "park", "stuck", "waiting", note="left its history; Put it back."),
    ),
    (Ended(status="succeed"), "", line("", "end", "succeed", "good")),
    (Ended(status="failed", error=ERROR), "", line("", "end", "failed", "bad")),
]


@pytest.mark.parametrize(("fact", "address", "expected"), [*STEP_LINES, *RUN_LINES])
def test_each_kind_of_event_is_a_line(fact: AnyFact, address: str, expected: Line) -> None:
    assert line_of(fact, address) == expected


def test_no_kind_of_event_is_forgotten() -> None:
    assert {type(fact) for fact, _, _ in [*STEP_LINES, *RUN_LINES]} == set(typing.get_args(AnyFact))


def saga_lines(*facts: tuple[str, AnyFact], **more: object) -> list[Line]:
    """The lines of a saga of two steps, after its beginning."""
    steps = tuple(
        SagaStep(branch_id=f"0{i}", action="http://a/pay", compensate="http://a/back", payload=b'{"cents": 3000}')
        for i in (1, 2)
    )
    order = msgspec.structs.replace(SagaOrder(steps=steps, request_timeout_s=3.0, retry_interval_s=10.0), **more)
    row = transaction_row(pattern="saga", workflow="dtm.saga", input=msgspec.json.encode([order]))
    every = (("", Began(workflow="dtm.saga")), *facts)
    return lines_of(row, [Event(seq=i, at=5.0, address=each[0], fact=each[1]) for i, each in enumerate(every)])[1:]


def test_a_saga_shows_branches_and_bodies() -> None:
    args = msgspec.Raw(msgspec.json.encode(['{"cents": 3000}']))
    pay, back = CallRecord(name="http://a/pay", args=args), CallRecord(name="http://a/back", args=args)
    refused = Refused(call=pay, error=ERROR)
    lines = saga_lines(("0", Succeeded(call=pay)), ("1", refused), ("1/c", Succeeded(call=back)))
    assert [(each.place, each.op) for each in lines] == [("01", "action"), ("02", "action"), ("02", "compensate")]
    assert lines[2].what == 'http://a/back {"cents": 3000}'


def test_the_timer_of_a_saga_and_what_it_was_told_are_lines() -> None:
    (timer,) = saga_lines(("0", Fired(until_at=10.0)), timeout_s=5)
    assert (timer.place, timer.what, timer.outcome) == ("", "timer", "has come")
    word = Signalled(name="word", value=msgspec.Raw(b'{"kind":"abort","reason":"too late"}'))
    (told,) = saga_lines(("", word))
    assert (told.what, told.outcome, told.note) == ("abort", "was asked for", "too late")


def test_a_call_with_a_large_payload_shows_its_size() -> None:
    assert spell_call(CallRecord(name="load", digest="abc", size=5_000_000)) == "load(5000000 bytes)"
    assert spell_call(CallRecord(name="http://a/load", digest="abc", size=5)) == "http://a/load 5 bytes"


def test_a_long_text_is_cut_and_says_how_long_it_was() -> None:
    assert cut("x" * SHOWN_MAX) == "x" * SHOWN_MAX
    assert cut("x" * (SHOWN_MAX + 1)) == "x" * SHOWN_MAX + f"... ({SHOWN_MAX + 1} characters)"
