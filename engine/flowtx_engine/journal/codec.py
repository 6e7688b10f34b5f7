"""Payload codecs: what stands between the journal and the database, so that the database holds encoded bytes only.

The law of this file: what was written is what is read, byte for byte, and what was not encoded is told apart by its
first byte, which no JSON has. Beside the encoded bytes of an event stands its head, in clear: what was called where,
and how it went, for people who look without the codec; never an argument, a value or the text of an error.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Protocol

import msgspec

from flowtx_engine.journal.errors import JournalUnavailable, UnreadablePayload
from flowtx_engine.journal.records import PayloadField, Transaction

MARK = b"\x01"
"""What encoded bytes begin with; JSON begins with no control character."""
TEXT_MARK = "\x01"
"""The same for texts, which go on in base 64."""
_HEAD_SIZE = 4
"""Bytes that say how long the head is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadContext:
    """Which payload it is: the same when it is read as when it was written. ``seq`` is an event's, None for a row's.

    A large payload comes in pieces: ``piece`` is the number of this one, and ``payload`` the id they have in common.
    """

    gid: str
    field: PayloadField
    seq: int | None = None
    payload: str = ""
    piece: int | None = None

    def __str__(self) -> str:
        """The place in words; no two payloads that must not be exchanged have the same, so it can be authenticated."""
        place = f"{self.gid}/{self.field}" if self.seq is None else f"{self.gid}/{self.field}/{self.seq}"
        return place if self.piece is None else f"{place}/{self.payload}/{self.piece}"


class PayloadCodec(Protocol):
    """Turns payloads into what the database holds, and back. Called from several threads at once.

    Raise ``JournalUnavailable`` for what passes by itself, such as a key service that does not answer: a write is then
    tried again. Any other exception is final for this payload.
    """

    def encode(self, payload: bytes, context: PayloadContext) -> bytes:
        """What to store for a payload."""
        ...

    def decode(self, stored: bytes, context: PayloadContext) -> bytes:
        """The payload again; raises when it cannot be had, for a key that is not there or bytes that were changed."""
        ...


def is_encoded(stored: bytes | str) -> bool:
    """True for what a codec made of a payload or text."""
    return stored.startswith(MARK) if isinstance(stored, bytes) else stored.startswith(TEXT_MARK)


def encode_payload(codec: PayloadCodec, payload: bytes, context: PayloadContext, *, head: bytes = b"") -> bytes:
    """A payload as the database holds it; raises whatever the codec raises."""
    return b"".join((MARK, len(head).to_bytes(_HEAD_SIZE), head, codec.encode(payload, context)))


def decode_payload(codec: PayloadCodec, stored: bytes, context: PayloadContext) -> bytes:
    """The payload; raises ``UnreadablePayload``. What was stored without a codec is itself."""
    if not is_encoded(stored):
        return stored
    start = 1 + _HEAD_SIZE + _head_length(stored)
    try:
        return codec.decode(stored[start:], context)
    except JournalUnavailable:
        raise
    except Exception as error:
        told = str(error) or type(error).__name__  # some libraries' errors for a wrong key have no text at all
        raise UnreadablePayload(
            f"transaction {context.gid}: {_place_of(context)} cannot be decoded by {codec!r}: {told}"
        ) from error


def encode_text(codec: PayloadCodec, text: str, context: PayloadContext) -> str:
    """A text as the database holds it; an empty one stays empty."""
    if not text:
        return ""
    return TEXT_MARK + base64.b64encode(codec.encode(text.encode(), context)).decode()


def decode_text(codec: PayloadCodec, stored: str, context: PayloadContext) -> str:
    """The text; raises ``UnreadablePayload``."""
    if not is_encoded(stored):
        return stored
    try:
        encoded = base64.b64decode(stored[1:], validate=True)
    except binascii.Error:  # somebody's own text that begins like ours, stored without a codec
        return stored
    return decode_payload(codec, MARK + bytes(_HEAD_SIZE) + encoded, context).decode()


def refuse_encoded(stored: bytes | None, context: PayloadContext) -> None:
    """Raise ``UnreadablePayload`` for bytes that are still encoded where they are needed: no codec was given."""
    if stored is not None and is_encoded(stored):
        raise UnreadablePayload(
            f"transaction {context.gid}: {_place_of(context)} is encoded, and there is no codec here that decodes it"
        )


def refuse_encoded_row(row: Transaction) -> None:
    """``refuse_encoded``, for the payloads of a transaction's row."""
    refuse_encoded(row.input, PayloadContext(gid=row.gid, field="input"))
    refuse_encoded(row.result, PayloadContext(gid=row.gid, field="result"))


def _place_of(context: PayloadContext) -> str:
    return f"its {context.field}" if context.seq is None else f"event {context.seq}"


# -- heads


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    where: str = ""


class _Error(msgspec.Struct, frozen=True, kw_only=True):
    """The type of an error is a name; its text can hold anything, so a head's is empty."""

    type: str = ""
    text: str = ""


class _ErrorType(msgspec.Struct, frozen=True, kw_only=True):
    type: str = ""


class _Named(msgspec.Struct, frozen=True, kw_only=True):
    """What may be read of an event: everything that is no payload."""

    kind: str
    workflow: str | msgspec.UnsetType = msgspec.UNSET
    version: str | msgspec.UnsetType = msgspec.UNSET
    name: str | msgspec.UnsetType = msgspec.UNSET
    where: str | msgspec.UnsetType = msgspec.UNSET
    call: _Call | msgspec.UnsetType = msgspec.UNSET
    change: str | msgspec.UnsetType = msgspec.UNSET
    verdict: str | msgspec.UnsetType = msgspec.UNSET
    outcome: str | msgspec.UnsetType = msgspec.UNSET
    status: str | msgspec.UnsetType = msgspec.UNSET
    attempt: int | msgspec.UnsetType = msgspec.UNSET
    fault_count: int | msgspec.UnsetType = msgspec.UNSET
    retry_at: float | msgspec.UnsetType = msgspec.UNSET
    until_at: float | msgspec.UnsetType = msgspec.UNSET
    wake_at: float | msgspec.UnsetType | None = msgspec.UNSET


class _Read(_Named, frozen=True, kw_only=True):
    error: _ErrorType | msgspec.UnsetType | None = msgspec.UNSET
    key: str | msgspec.UnsetType = msgspec.UNSET


class _Head(_Named, frozen=True, kw_only=True):
    """``key`` cannot be read either, but a fact that has one must have one."""

    error: _Error | msgspec.UnsetType | None = msgspec.UNSET
    key: str | msgspec.UnsetType = msgspec.UNSET


_decoder = msgspec.json.Decoder(_Read)
_encoder = msgspec.json.Encoder()


def head_of(data: bytes) -> bytes:
    """The head of an event's ``data``: a fact of the same kind without its payloads; empty for what is none."""
    try:
        read = _decoder.decode(data)
    except msgspec.DecodeError:
        return b""
    values = {name: getattr(read, name) for name in _Named.__struct_fields__}
    error = _Error(type=read.error.type) if isinstance(read.error, _ErrorType) else read.error
    return _encoder.encode(_Head(**values, error=error, key="" if read.key else read.key))


def stored_head(stored: bytes) -> bytes:
    """The head that stands in clear before encoded bytes."""
    return stored[1 + _HEAD_SIZE : 1 + _HEAD_SIZE + _head_length(stored)]


def stored_size(stored: bytes) -> int:
    """How many bytes the codec made."""
    return len(stored) - 1 - _HEAD_SIZE - _head_length(stored)


def _head_length(stored: bytes) -> int:
    return int.from_bytes(stored[1 : 1 + _HEAD_SIZE])
