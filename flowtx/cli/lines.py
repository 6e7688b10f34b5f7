"""A journal as lines for a person: one event a line, in words. Pure; colours and tables are ``show``'s.

The law of this file: nothing is left out and nothing is made up: each line is one event, in journal order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import msgspec

from flowtx.dtm.wire.views import saga_order_of
from flowtx_dsl.patterns.saga import addresses_of, first_call_of
from flowtx_engine.journal.codec import is_encoded
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import (
    Attempted,
    Began,
    CallRecord,
    Cancelled,
    Ended,
    Event,
    Failed,
    Fired,
    Hastened,
    Parked,
    Refused,
    Signalled,
    StepFact,
    Stopped,
    Succeeded,
)
from flowtx_engine.kernel.kernel import START
from flowtx_engine.runtime.history import reason_of

Op = Literal["action", "compensate", "confirm", ""]
Mood = Literal["good", "bad", "waiting", "plain"]

BranchOf = Callable[[str], str]

COMPENSATION, CONFIRMATION = "/c", "/m"
"""What the address of what settles a step ends in; before it stands the address of the step."""
ENCODED = "(encoded)"
"""What is shown of a payload that is encoded, when the codec is not given."""
SHOWN_MAX = 400
"""Longer arguments, results and errors are cut in a line; ``--json`` shows them whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One event: ``place`` is the address, or for a saga the branch; ``op`` is DTM's word for what was asked."""

    at: float
    place: str
    op: Op
    what: str
    outcome: str
    mood: Mood
    note: str = ""


def lines_of(transaction: Transaction, events: Sequence[Event], encoded: Collection[int] = ()) -> list[Line]:
    """The lines of a transaction's journal; of the events with an ``encoded`` seq only the head could be read."""
    branch_of = _branches_of(transaction)
    return [
        _veiled(event, _line_of(event, None)) if event.seq in encoded else _line_of(event, branch_of)
        for event in events
    ]


def _veiled(event: Event, line: Line) -> Line:
    """A line without what only the codec could read: it holds nothing, and must not look as if that were so."""
    fact = event.fact
    if isinstance(fact, Attempted | Succeeded | Refused | Failed):
        return dataclasses.replace(line, what=f"{fact.call.name}(...)", note=f"{line.note} {ENCODED}".strip())
    return line if isinstance(fact, Began | Fired) else dataclasses.replace(line, note=ENCODED)


def _branches_of(transaction: Transaction) -> BranchOf | None:
    """What finds a saga's branch by the address of any of its calls; None for what has no branches."""
    if transaction.pattern != "saga" or is_encoded(transaction.input):
        return None
    order = saga_order_of(transaction)
    branches = {address: step.branch_id for address, step in zip(addresses_of(order), order.steps, strict=True)}
    return lambda address: branches.get(first_call_of(order, address), address)


def _line_of(event: Event, branch_of: BranchOf | None) -> Line:
    fact = event.fact
    match fact:
        case Attempted() | Succeeded() | Refused() | Failed():
            return _step_line(event, fact, branch_of)
        case Began():
            outcome = "began" if fact.starts_at is None and fact.place is None else "begins later"
            return _run_line(event, f"{fact.workflow} version {fact.version}", outcome)
        case Fired() if event.address == START:
            return _run_line(event, "start", "is due")
        case Fired() if branch_of is not None:
            return _run_line(event, "timeout", "has come")
        case Fired():
            return Line(at=event.at, place=event.address, op="", what="sleep", outcome="is over", mood="plain")
        case Cancelled():
            return _run_line(event, "cancel", "was asked for", note=fact.reason)
        case Stopped():
            return _run_line(event, "stop", "by force", mood="bad", note=fact.reason)
        case Signalled():
            return _run_line(event, f"signal {fact.name}", "came", note=cut(bytes(fact.value).decode()))
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


def _step_line(event: Event, fact: StepFact, branch_of: BranchOf | None) -> Line:
    outcome, mood, note = _outcome_of(event, fact)
    step = event.address.removesuffix(COMPENSATION).removesuffix(CONFIRMATION)
    return Line(
        at=event.at,
        place=step if branch_of is None else branch_of(step),
        op=_op_of(event.address),
        what=spell_call(fact.call) if branch_of is None else spell_saga_call(fact.call),
        outcome=outcome if fact.attempt == 1 else f"{outcome}, attempt {fact.attempt}",
        mood=mood,
        note=cut(note),
    )


def _op_of(address: str) -> Op:
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
        case _:
            assert_never(fact)


def spell_call(call: CallRecord) -> str:
    """A call as it would be written: ``withdraw("alice", 3000)``, or the URL and what was sent there."""
    parts = [bytes(part).decode() for part in msgspec.json.decode(call.args, type=list[msgspec.Raw])]
    args = f"{call.size} bytes" if call.digest else ", ".join(parts)
    return cut(f"{call.name} {args}".rstrip() if "://" in call.name else f"{call.name}({args})")


def spell_saga_call(call: CallRecord) -> str:
    """A call of a saga: the URL and the body, which its client gave as text."""
    if call.digest:
        return spell_call(call)
    return cut(" ".join([call.name, *msgspec.json.decode(call.args, type=list[str])]).rstrip())


def cut(text: str) -> str:
    """A text that fits into a line."""
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}... ({len(text)} characters)"
