"""A journal as lines for a person: one event a line, in words. Pure; colours and tables are ``show``'s.

The law of this file: nothing is left out and nothing is made up: each line is one event, in journal order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, assert_never

import msgspec

from flowtx.dtm.branches import Place, is_pattern, replayed
from flowtx_dsl.patterns.calling import WORD, Word
from flowtx_dsl.queues import without_secrets
from flowtx_engine.journal.codec import is_encoded
from flowtx_engine.journal.pieces import in_pieces, is_in_pieces
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import (
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
    StepFact,
    Stopped,
    Succeeded,
    Updated,
)
from flowtx_engine.kernel.life import START
from flowtx_engine.runtime.history import reason_of

Mood = Literal["good", "bad", "waiting", "plain"]

Places = Mapping[str, Place]
"""Of which branch of one of DTM's patterns each address speaks."""

COMPENSATION, CONFIRMATION = "/c", "/m"
"""What the address of what settles a step ends in; before it stands the address of the step."""
NO_VEILS: Mapping[int, str] = MappingProxyType({})
ENCODED = "(encoded)"
"""What is shown of a payload that is encoded, when the codec is not given."""
SHOWN_MAX = 400
"""Longer arguments, results and errors are cut in a line; ``--json`` shows them whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One event: ``place`` is the address, or for DTM's patterns the branch; ``op`` is what was asked."""

    at: float
    place: str
    op: str
    what: str
    outcome: str
    mood: Mood
    note: str = ""


def lines_of(transaction: Transaction, events: Sequence[Event], veils: Mapping[int, str] = NO_VEILS) -> list[Line]:
    """The lines of a transaction's journal; ``veils`` are why only the head of some events was read, by their seqs."""
    places = replayed(transaction, events).places if is_pattern(transaction) and not veils else None
    return [
        _veiled(event, _line_of(event, None), veils[event.seq]) if event.seq in veils else _line_of(event, places)
        for event in events
    ]


def veil_of(stored: bytes, *, gid: str) -> str:
    """Why a stored payload is not shown, "" when it is: only its codec can read it, or it is large."""
    if is_encoded(stored):
        return ENCODED
    return f"({in_pieces(stored, gid=gid, field='data').size:,} bytes)" if is_in_pieces(stored) else ""


def _veiled(event: Event, line: Line, why: str) -> Line:
    """A line without what was not read: it holds nothing, and must not look as if that were so."""
    fact = event.fact
    if isinstance(fact, StepFact):
        return dataclasses.replace(line, what=f"{fact.call.name}(...)", note=f"{line.note} {why}".strip())
    return line if isinstance(fact, Began | Fired) else dataclasses.replace(line, note=why)


def _line_of(event: Event, places: Places | None) -> Line:
    fact = event.fact
    match fact:
        case Attempted() | Succeeded() | Refused() | Failed() | Started() | Doubted() | Decided():
            return _step_line(event, fact, places)
        case Began():
            outcome = "began" if fact.starts_at is None and fact.place is None else "begins later"
            return _run_line(event, f"{fact.workflow} version {fact.version}", outcome)
        case Fired() if event.address == START:
            return _run_line(event, "start", "is due")
        case Fired() if places is not None:
            return _run_line(event, "timer", "has come")
        case Fired():
            return Line(at=event.at, place=event.address, op="", what="sleep", outcome="is over", mood="plain")
        case Cancelled():
            return _run_line(event, "cancel", "was asked for", note=fact.reason)
        case Stopped():
            return _run_line(event, "stop", "by force", mood="bad", note=fact.reason)
        case Signalled() if places is not None and fact.name == WORD:
            return _word_line(event, msgspec.json.decode(fact.value, type=Word))
        case Signalled():
            return _run_line(event, f"signal {fact.name}", "came", note=cut(bytes(fact.value).decode()))
        case Updated():
            return _run_line(event, f"update {fact.name}", "was asked for", note=cut(bytes(fact.value).decode()))
        case Kept():
            return _run_line(event, "keep", "the parent has succeeded", mood="good")
        case Changed():
            return _run_line(event, f"change {fact.change}", "is in force")
        case Returned():
            note = "" if bytes(fact.value) == b"null" else f"-> {bytes(fact.value).decode()}"
            return _run_line(event, "return", "waits for its parent", mood="waiting", note=cut(note))
        case Hastened():
            return _run_line(event, "hasten", "was asked for")
        case Parked():
            note = cut(fact.reason.replace("\n  -> ", "; "))
            return _run_line(event, "park", "stuck" if note else "until it is due", mood="waiting", note=note)
        case Ended():
            # The result or the reason stands above the journal already.
            return _run_line(event, "end", fact.status, mood="good" if fact.status == "succeed" else "bad")
        case _:
            assert_never(fact)


def _run_line(event: Event, what: str, outcome: str, *, mood: Mood = "plain", note: str = "") -> Line:
    """A line about the run as a whole."""
    return Line(at=event.at, place="", op="", what=what, outcome=outcome, mood=mood, note=note)


_WORDS = {"branch": "was registered", "submit": "was asked for", "abort": "was asked for", "hurry": "was asked for"}


def _word_line(event: Event, word: Word) -> Line:
    """What a front end said to one of DTM's patterns."""
    told = word.reason or ("" if bytes(word.data) == b"null" else bytes(word.data).decode())
    return _run_line(event, word.kind, _WORDS[word.kind], note=cut(without_secrets(told)))


def _step_line(event: Event, fact: StepFact, places: Places | None) -> Line:
    outcome, mood, note = _outcome_of(event, fact)
    step = event.address.removesuffix(COMPENSATION).removesuffix(CONFIRMATION)
    place = None if places is None else places.get(event.address)
    return Line(
        at=event.at,
        place=step if place is None else place.branch_id,
        op=_op_of(event.address) if place is None else place.op,
        what=spell_call(fact.call) if place is None else spell_branch_call(fact.call),
        outcome=outcome if fact.attempt == 1 else f"{outcome}, attempt {fact.attempt}",
        mood=mood,
        note=cut(note),
    )


def _op_of(address: str) -> str:
    if address.endswith(COMPENSATION):
        return "compensate"
    return "confirm" if address.endswith(CONFIRMATION) else "action"


def _outcome_of(event: Event, fact: StepFact) -> tuple[str, Mood, str]:
    match fact:
        case Succeeded():
            value = bytes(fact.value).decode()
            return "succeeded", "good", "" if value == "null" else f"-> {value}"
        case Refused():
            return "refused", "bad", reason_of(fact.error)
        case Failed():
            return "given up", "bad", reason_of(fact.error)
        case Attempted():
            again = f"again in {max(0.0, fact.retry_at - event.at):.1f} s"
            return fact.outcome, "waiting", f"{reason_of(fact.error)}; {again}"
        case Started():
            return "begins", "plain", ""
        case Doubted():
            return "in doubt", "bad", f"{reason_of(fact.error)}; a person must decide"
        case Decided():
            value = bytes(fact.value).decode()
            told = fact.reason or ("" if value == "null" else f"-> {value}")
            return f"decided: {fact.verdict}", "plain", told
        case _:
            assert_never(fact)


def spell_call(call: CallRecord) -> str:
    """A call as it would be written: ``withdraw("alice", 3000)``, or the URL and what was sent there."""
    parts = [bytes(part).decode() for part in msgspec.json.decode(call.args, type=list[msgspec.Raw])]
    args = f"{call.size} bytes" if call.digest else ", ".join(parts)
    return cut(f"{call.name} {args}".rstrip() if "://" in call.name else f"{call.name}({args})")


def spell_branch_call(call: CallRecord) -> str:
    """A call of a branch: the URL and the body, which its client gave as text."""
    if call.digest:
        return spell_call(call)
    return cut(" ".join([call.name, *msgspec.json.decode(call.args, type=list[str])]).rstrip())


def cut(text: str) -> str:
    """A text that fits into a line."""
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}... ({len(text)} characters)"
