"""Large payloads: cut into pieces that are written ahead of the event that names them, and put together again.

The law of this file: pieces count when their event does, and never otherwise. A payload is *coming* until the write
that names it finds all its pieces and makes it *count*, in one step; or until it is *let go of*, by a sweep or for what
stands in its place. Nothing leads from there to counting. So whoever sweeps may be wrong about who still writes: such a
write is kept out by ``PiecesGone``, and its writer puts the pieces again. ``docs/decisions/0012`` has the argument.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from flowtx_engine.journal.codec import head_of
from flowtx_engine.journal.errors import PiecesGone, UnreadablePayload
from flowtx_engine.journal.records import (
    InPieces,
    JournalRow,
    NewTransaction,
    PayloadField,
    Piece,
    RowChange,
    Transaction,
    Write,
)

PIECE_BYTES = 512 * 1024
"""A longer payload is kept in pieces of this length. One is written in milliseconds, and that is what others wait."""
PIECES_READ_MAX = 4
"""How many pieces are read at once."""
NOBODYS_AFTER_S = 3600.0
"""After so long, pieces of a process that is no node are taken for forgotten: a command is done by then."""

_MARK = b"\x02"
"""What stands in the place of a payload in pieces begins with it; neither JSON nor what a codec made does."""
_HEAD_SIZE = 4
"""Bytes that say how long the head is."""


class PieceStore(Protocol):
    """What a ``Store`` does with pieces, beside ``commit``."""

    def pieces(self, of: InPieces, first: int, limit: int) -> list[bytes]:
        """Up to ``limit`` pieces from number ``first`` on, in order, no further than one that is not there."""
        ...

    def uncounted(self, node: str, now_at: float, limit: int) -> list[str]:
        """Up to ``limit`` ids of payloads in pieces that nobody is writing, or only ``node`` itself; in any order.

        That is what was let go of, and what is coming by ``node``, by a node that is not alive at ``now_at``, or by no
        node since ``NOBODYS_AFTER_S``.
        """
        ...

    def sweep(self, ids: Sequence[str], piece_max: int) -> int:
        """Let go of those of the payloads that do not count, and delete up to ``piece_max`` of their pieces.

        Returns how many were deleted; fewer than ``piece_max`` when there is nothing left of any. What counts stays.
        """
        ...


class _Reference(msgspec.Struct, frozen=True, array_like=True):
    """What is stored in the place of a payload, behind its head."""

    id: str
    piece_count: int
    size: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Reference)


# --- what stands in the place of a payload ---


def is_in_pieces(stored: bytes) -> bool:
    """True for what stands in the place of a payload that is kept in pieces."""
    return stored.startswith(_MARK)


def stand_in(of: InPieces, *, head: bytes = b"") -> bytes:
    """What to store in the place of a payload; the ``head`` of an event stands in clear before it."""
    reference = _Reference(of.id, of.piece_count, of.size)
    return b"".join((_MARK, len(head).to_bytes(_HEAD_SIZE), head, _encoder.encode(reference)))


def head_of_pieces(stored: bytes) -> bytes:
    """The head of an event that is kept in pieces."""
    return stored[1 + _HEAD_SIZE : _head_end(stored)]


def in_pieces(stored: bytes, *, gid: str, field: PayloadField, seq: int | None = None) -> InPieces:
    """The payload that is meant by what stands in its place; raises ``UnreadablePayload``."""
    try:
        found = _decoder.decode(stored[_head_end(stored) :])
    except msgspec.DecodeError as error:
        raise UnreadablePayload(
            f"transaction {gid}: its {field} names no pieces: {error}", remedy="Restore it from a backup."
        ) from error
    return InPieces(id=found.id, gid=gid, field=field, seq=seq, piece_count=found.piece_count, size=found.size)


def _head_end(stored: bytes) -> int:
    return 1 + _HEAD_SIZE + int.from_bytes(stored[1 : 1 + _HEAD_SIZE])


# --- writing ---


class Large:
    """A write with large payloads on its way: their pieces one after another, then the write that names them."""

    def __init__(self, write: Write, *, node: str, piece_bytes: int) -> None:
        """``node`` is who writes it, "" for what is no node."""
        self._whole = write
        self._node = node
        self._piece_bytes = piece_bytes
        self.begin_again()

    def __repr__(self) -> str:
        return f"<Large {self.write}, {self._put_count} of {len(self._pieces)} pieces>"

    def begin_again(self) -> None:
        """None of its pieces is there: put them all, under new ids."""
        self._put_count = 0
        self._payloads: dict[str, bytes] = {}
        self.write = self._cut(self._whole)
        self._pieces = [(of, number) for of in self.write.counted for number in range(of.piece_count)]

    @property
    def ids(self) -> Iterable[str]:
        """The ids of its payloads."""
        return self._payloads

    def next_piece(self) -> Write | None:
        """What is to be written next, None when all pieces are there; the same until ``went_on`` says it is durable."""
        if self._put_count == len(self._pieces):
            return None
        of, number = self._pieces[self._put_count]
        start = number * self._piece_bytes
        data = self._payloads[of.id][start : start + self._piece_bytes]
        piece = Piece(of=of, number=number, data=data, node=self._node, at=self._whole.rows[0].at)
        return Write(gid=self.write.gid, rows=(), pieces=(piece,))

    def went_on(self) -> None:
        """The piece is durable."""
        self._put_count += 1

    def _cut(self, write: Write) -> Write:
        counted: list[InPieces] = []

        def cut(payload: bytes, field: PayloadField, seq: int | None = None) -> bytes:
            if len(payload) <= self._piece_bytes:
                return payload
            of = InPieces(
                id=uuid.uuid4().hex,
                gid=write.gid,
                field=field,
                seq=seq,
                piece_count=-(-len(payload) // self._piece_bytes),
                size=len(payload),
            )
            counted.append(of)
            self._payloads[of.id] = payload
            return stand_in(of, head=head_of(payload) if field == "data" else b"")

        rows = tuple(msgspec.structs.replace(row, data=cut(row.data, "data", row.seq)) for row in write.rows)
        change = write.change
        if isinstance(change, NewTransaction):
            change = msgspec.structs.replace(change, input=cut(change.input, "input"))
        elif isinstance(change, RowChange) and isinstance(change.result, bytes):
            change = msgspec.structs.replace(change, result=cut(change.result, "result"))
        return msgspec.structs.replace(write, rows=rows, change=change, counted=tuple(counted))


def is_large(write: Write, piece_bytes: int) -> bool:
    """True when a payload of it must be cut."""
    change = write.change
    of_row = b""
    if isinstance(change, NewTransaction):
        of_row = change.input
    elif isinstance(change, RowChange) and isinstance(change.result, bytes):
        of_row = change.result
    return len(of_row) > piece_bytes or any(len(row.data) > piece_bytes for row in write.rows)


# --- reading ---


def whole_transaction(store: PieceStore, row: Transaction) -> Transaction:
    """A row with its payloads put together; raises ``PiecesGone`` and ``UnreadablePayload``."""
    if is_in_pieces(row.input):
        row = msgspec.structs.replace(row, input=_joined(store, in_pieces(row.input, gid=row.gid, field="input")))
    if row.result is not None and is_in_pieces(row.result):
        row = msgspec.structs.replace(row, result=_joined(store, in_pieces(row.result, gid=row.gid, field="result")))
    return row


def whole_rows(store: PieceStore, rows: Sequence[JournalRow]) -> list[JournalRow]:
    """Events with their payloads put together; raises as ``whole_transaction`` does."""
    return [_whole_row(store, row) for row in rows]


def _whole_row(store: PieceStore, row: JournalRow) -> JournalRow:
    if not is_in_pieces(row.data):
        return row
    of = in_pieces(row.data, gid=row.gid, field="data", seq=row.seq)
    return msgspec.structs.replace(row, data=_joined(store, of))


def _joined(store: PieceStore, of: InPieces) -> bytes:
    # BytesIO gives away the buffer it has filled; joining a list would have all of it in memory twice.
    whole = io.BytesIO()
    for data in _pieces(store, of):
        whole.write(data)
    if whole.tell() != of.size:
        raise UnreadablePayload(
            f"transaction {of.gid}: its {of.field} has {whole.tell()} bytes in pieces, where {of.size} were written",
            remedy="Restore it from a backup.",
        )
    return whole.getvalue()


def _pieces(store: PieceStore, of: InPieces) -> Iterator[bytes]:
    first = 0
    while first < of.piece_count:
        found = store.pieces(of, first, min(PIECES_READ_MAX, of.piece_count - first))
        if not found:
            raise PiecesGone(f"transaction {of.gid}: piece {first} of {of.piece_count} of its {of.field} is not there")
        first += len(found)
        yield from found
