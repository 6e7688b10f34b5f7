"""Events to journal rows and back; errors to the one line a row shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from flowtx_dsl.error_codec import ErrorRecord
from flowtx_engine.journal.codec import PayloadContext, is_encoded, refuse_encoded, stored_head
from flowtx_engine.journal.errors import SchemaError, UnreadablePayload
from flowtx_engine.journal.pieces import head_of_pieces, is_in_pieces
from flowtx_engine.journal.records import JournalRow
from flowtx_engine.kernel.events import (
    Began,
    Event,
    External,
    decode_fact,
    encode_fact,
    kind_of,
)
from flowtx_engine.runtime.speech import replaying

REASONS_MAX = 5
"""So many different reasons of branches that failed together are told; the error itself holds all."""

_SPEAKS_FOR_ITSELF = ("flowtx_dsl.errors:", "flowtx:")


def row_of(gid: str, event: Event) -> JournalRow:
    """An event as it is stored."""
    return JournalRow(
        gid=gid,
        seq=event.seq,
        kind=kind_of(event.fact),
        address=event.address,
        data=event.data or encode_fact(event.fact),
        at=event.at,
    )


def event_of(row: JournalRow) -> Event:
    """A stored event.

    Raises ``SchemaError`` when a newer flowtx wrote a kind that this one does not know, and ``UnreadablePayload`` when
    a codec wrote it and none has read it.
    """
    refuse_encoded(row.data, PayloadContext(gid=row.gid, field="data", seq=row.seq))
    try:
        fact = decode_fact(row.data)
    except msgspec.DecodeError as error:
        raise SchemaError(
            f"transaction {row.gid}: event {row.seq} of kind {row.kind!r} cannot be read: {error}",
            remedy="Run the version of flowtx that wrote it, or a newer one.",
        ) from error
    return Event(seq=row.seq, at=row.at, address=row.address, fact=fact)


def event_in_clear(row: JournalRow) -> Event:
    """What can be read of a stored event without its codec and its pieces: no arguments, values and texts of errors.

    Raises as ``event_of`` does, for an encoded event only when nothing but its kind stands in clear.
    """
    if not is_encoded(row.data) and not is_in_pieces(row.data):
        return event_of(row)
    head = stored_head(row.data) if is_encoded(row.data) else head_of_pieces(row.data)
    if not head:
        raise UnreadablePayload(f"transaction {row.gid}: event {row.seq} of kind {row.kind!r} is encoded as a whole")
    return event_of(msgspec.structs.replace(row, data=head))


def feed_history(events: Sequence[Event], feed: Callable[[Event], object], *, gid: str) -> None:
    """Feed a run its history; what it logs is dropped as far as it was fed that before."""
    known_count = known_count_of(events)
    with replaying(gid):
        for event in events[:known_count]:
            feed(event)
    for event in events[known_count:]:
        feed(event)


def known_count_of(events: Sequence[Event]) -> int:
    """How many events a run has been fed before: all but those that others appended at the end."""
    count = len(events)
    while count and isinstance(events[count - 1].fact, Began | External):
        count -= 1
    return count


def reason_of(error: ErrorRecord | None) -> str:
    """Why a transaction turned round, in one text: flowtx's own errors by their words, others with their type.

    A group of errors is told by its members.
    """
    if error is None:
        return ""
    if error.members:
        told = list(dict.fromkeys(reason_of(member) for member in error.members))
        more = f"; and {len(told) - REASONS_MAX} more" if len(told) > REASONS_MAX else ""
        return "; ".join(told[:REASONS_MAX]) + more
    text = error.text.split("\n  -> ")[0]
    if error.type.startswith(_SPEAKS_FOR_ITSELF):
        return text
    name = error.type.rpartition(":")[2]
    return f"{name}: {text}" if text else name
