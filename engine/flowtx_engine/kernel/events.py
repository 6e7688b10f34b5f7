"""Events: the facts a journal holds, one struct a kind.

The law of this file: an event is a fact, never a wish. It is written before anything that depends on it leaves the
process, it is never changed, and feeding the same events in the same order gives the same execution.

A row of the journal is ``(gid, seq, kind, address, data, at)``; ``kind`` is the fact's tag, ``data`` the fact as JSON,
``address`` the place in the task tree it speaks of ("" when it speaks of the whole run).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, assert_never

import msgspec

from flowtx_dsl.error_codec import ErrorRecord

FinalStatus = Literal["succeed", "failed"]
"""DTM's two final words; ``succeed`` is the wire's spelling (spec 4.1)."""


class Fact(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """What is common to all facts: nothing but being one."""


class FromOutside(Fact, frozen=True, kw_only=True):
    """What others than its driver put into a run's journal.

    ``is_unheard`` says that it was written past the driver: until the driver has written something behind it, the run's
    code may not have seen it.
    """

    is_unheard: bool = False


class CallRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked, as it is kept beside its outcome, so that replay can compare and a person can read.

    ``args`` is the payload as JSON; a payload over ``ARGS_KEPT_MAX`` bytes is kept as ``digest`` and ``size`` only.
    ``where`` is the source line in the workflow, ``file.py:41``.
    """

    name: str
    where: str = ""
    args: msgspec.Raw = msgspec.Raw(b"[]")
    digest: str = ""
    size: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run answered to an update: a value, or the error that refused it."""

    value: msgspec.Raw = msgspec.Raw(b"null")
    error: ErrorRecord | None = None


class Began(Fact, frozen=True, kw_only=True, tag="began"):
    """The transaction exists; its input is in its row.

    ``is_prepared``: it waits for its submission (spec 4.1). ``parent`` is the gid of the run it is a child of, "" for
    none: what a child has done is neither final nor taken back before its parent says so. ``starts_at`` (seconds since
    the epoch) is when its workflow begins, None: now. ``place`` is set when its workflow has a limit: the key it waits
    under for a free place, and it begins when it has one. A run that begins again has its new ``input`` here, with the
    keys it ``heard`` before and what it ``answered`` to them.
    """

    workflow: str
    version: str = "1"
    is_prepared: bool = False
    parent: str = ""
    input: msgspec.Raw = msgspec.Raw(b"null")
    heard: tuple[str, ...] = ()
    answered: dict[str, Answer] = {}
    starts_at: float | None = None
    place: str | None = None


class Started(Fact, frozen=True, kw_only=True, tag="started"):
    """An attempt at a step that may be made once only is about to begin: from here on it may have happened."""

    call: CallRecord
    attempt: int


class Doubted(Fact, frozen=True, kw_only=True, tag="doubted"):
    """An attempt at a step that may be made once only was started, and nobody knows what became of it.

    The step waits for a person's decision; ``error`` says how the attempt ended, or that nobody saw it end.
    """

    call: CallRecord
    error: ErrorRecord
    attempt: int


Verdict = Literal["succeeded", "refused", "retry"]
"""What a person may say of a step in doubt: it happened, it did not and shall not, or make it again."""


class Decided(FromOutside, frozen=True, kw_only=True, tag="decided"):
    """A person said what became of a step in doubt: it succeeded with ``value`` (JSON), was refused for ``reason``."""

    call: CallRecord
    verdict: Verdict
    value: msgspec.Raw = msgspec.Raw(b"null")
    reason: str = ""
    attempt: int = 1


class Attempted(Fact, frozen=True, kw_only=True, tag="attempted"):
    """One attempt ended without a final outcome; the next is due at ``retry_at`` (seconds since the epoch).

    ``fault_count`` counts the consecutive faults at this address, this one included; a participant that answers
    "ongoing" adds none.
    """

    call: CallRecord
    outcome: Literal["unknown", "ongoing", "refused"]
    error: ErrorRecord
    attempt: int
    fault_count: int
    retry_at: float


class Succeeded(Fact, frozen=True, kw_only=True, tag="succeeded"):
    """The step or compensation succeeded with ``value`` (JSON)."""

    call: CallRecord
    value: msgspec.Raw = msgspec.Raw(b"null")
    attempt: int = 1


class Refused(Fact, frozen=True, kw_only=True, tag="refused"):
    """The participant's final business "no"."""

    call: CallRecord
    error: ErrorRecord
    attempt: int = 1


class Failed(Fact, frozen=True, kw_only=True, tag="failed"):
    """The engine gave the step up; whether it happened is unknown. ``error`` is raised in the workflow."""

    call: CallRecord
    error: ErrorRecord
    attempt: int = 1


class Fired(Fact, frozen=True, kw_only=True, tag="fired"):
    """A timer's time has come; ``until_at`` is the instant that was asked for, ``where`` the line that asked."""

    until_at: float
    where: str = ""


class Cancelled(FromOutside, frozen=True, kw_only=True, tag="cancelled"):
    """Somebody asked for the run to be cancelled: it unwinds and compensates."""

    reason: str = ""


class Stopped(FromOutside, frozen=True, kw_only=True, tag="stopped"):
    """Somebody ended the run by force: nothing more is called, nothing is compensated (spec 2.4, forceStop)."""

    reason: str = ""


class Signalled(FromOutside, frozen=True, kw_only=True, tag="signalled"):
    """Somebody sent a signal: ``value`` (JSON) under a ``name``; one ``key`` is taken once, "" is no key."""

    name: str
    value: msgspec.Raw = msgspec.Raw(b"null")
    key: str = ""


class Hastened(FromOutside, frozen=True, kw_only=True, tag="hastened"):
    """Somebody wants no more waiting: every attempt that is due later is due now. Timers keep their time."""


class Updated(FromOutside, frozen=True, kw_only=True, tag="updated"):
    """Somebody asks the run for something and waits for its answer: as a signal, with a ``key`` for the answer."""

    name: str
    key: str
    value: msgspec.Raw = msgspec.Raw(b"null")


class Kept(FromOutside, frozen=True, kw_only=True, tag="kept"):
    """The parent of this run has succeeded: what the run has done is final. Cancelling it says the opposite."""


class Changed(Fact, frozen=True, kw_only=True, tag="changed"):
    """The run asked whether it began after a ``change`` of its code, and it did."""

    change: str


class Returned(Fact, frozen=True, kw_only=True, tag="returned"):
    """The workflow of a child has returned ``value``; the run waits for its parent's word."""

    value: msgspec.Raw = msgspec.Raw(b"null")


class Parked(Fact, frozen=True, kw_only=True, tag="parked"):
    """The run was dropped from memory, until ``wake_at`` (seconds since the epoch) or for the ``reason`` given."""

    wake_at: float | None = None
    reason: str = ""


class Ended(Fact, frozen=True, kw_only=True, tag="ended"):
    """The run is over: ``value`` on succeed, ``error`` on failed."""

    status: FinalStatus
    value: msgspec.Raw = msgspec.Raw(b"null")
    error: ErrorRecord | None = None


StepFact = Attempted | Succeeded | Refused | Failed | Started | Doubted | Decided
External = Cancelled | Stopped | Signalled | Updated | Hastened | Kept
"""What others than its driver may put into a run's journal."""
Note = Changed | Returned | Ended
"""What the run itself has to say: the kernel wants it written with the event that led to it."""
AnyFact = Began | StepFact | Fired | External | Parked | Note


def stopped_end(reason: str, failing: tuple[ErrorRecord, ...]) -> Ended:
    """The end of a run that was stopped by force; ``failing`` is what its compensations last failed with.

    Those join the reason in one group, so that nobody takes the run for one that was taken back.
    """
    error = ErrorRecord(type="flowtx:Stopped", text=reason)
    if failing:
        error = ErrorRecord(type="builtins:ExceptionGroup", text="stopped by force", members=(error, *failing))
    return Ended(status="failed", error=error)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One fact at its place: ``seq`` in its gid's journal, ``at`` in seconds since the epoch.

    ``data`` is the fact's ``data`` column where that is made already, see ``lean``.
    """

    seq: int
    at: float
    address: str
    fact: AnyFact
    data: bytes = b""


ARGS_KEPT_MAX = 4096
"""A payload longer than this many bytes is kept in events by its digest: the workflow asks for it again on replay."""

LEAN_BYTES = 256 * 1024
"""From so many bytes on, a value is large enough for reading its fact once more to be worth it."""

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyFact] = msgspec.json.Decoder(AnyFact)


def encode_fact(fact: AnyFact) -> bytes:
    """The ``data`` column of a fact."""
    return _encoder.encode(fact)


def lean(fact: AnyFact) -> tuple[AnyFact, bytes]:
    """A fact with its ``data`` column; a large value is a view into that, so that it is in memory once.

    Of others the column is empty: it costs less to make it when it is needed.
    """
    if not isinstance(fact, Succeeded | Returned | Ended) or memoryview(fact.value).nbytes < LEAN_BYTES:
        return fact, b""
    data = encode_fact(fact)
    return decode_fact(data), data


def decode_fact(data: bytes) -> AnyFact:
    """A fact from its ``data`` column; raises ``msgspec.DecodeError`` when it is not one this version knows."""
    return _decoder.decode(data)


def kind_of(fact: AnyFact) -> str:
    """The ``kind`` column of a fact."""
    tag = fact.__struct_config__.tag
    assert isinstance(tag, str), tag
    return tag


def _later(fact: Began) -> str:
    if fact.place is not None:
        return ", when there is a free place"
    return "" if fact.starts_at is None else f", not before {datetime.fromtimestamp(fact.starts_at, UTC).isoformat()}"


def describe(fact: AnyFact) -> str:
    """A fact in a few words, for tables and reprs."""
    match fact:
        case Began():
            return f"{fact.workflow} version {fact.version}{_later(fact)}"
        case Attempted():
            return f"{fact.call.name} attempt {fact.attempt}: {fact.outcome}, {fact.error.text}"
        case Succeeded():
            return f"{fact.call.name} -> {bytes(fact.value).decode()}"
        case Refused() | Failed() | Doubted():
            return f"{fact.call.name}: {fact.error.text}"
        case Started():
            return f"{fact.call.name} attempt {fact.attempt}"
        case Decided():
            return f"{fact.call.name}: {fact.verdict}"
        case Fired():
            return "the timer's time came"
        case Cancelled() | Stopped():
            return fact.reason
        case Signalled():
            return f"{fact.name} = {bytes(fact.value).decode()}"
        case Updated():
            return f"{fact.name} = {bytes(fact.value).decode()}"
        case Kept():
            return "the parent has succeeded"
        case Changed():
            return f"began after the change {fact.change}"
        case Returned():
            return f"-> {bytes(fact.value).decode()}"
        case Hastened():
            return "what is due later is due now"
        case Parked():
            return fact.reason or "dropped from memory until its next wake-up"
        case Ended():
            return fact.status if fact.error is None else f"{fact.status}: {fact.error.text}"
        case _:
            assert_never(fact)
