"""Pieces of large payloads in memory; see ``pieces.py`` for what they mean.

The law of this file: a payload is coming, counts, or is let go of, and goes from the first to one of the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from flowtx_engine.journal.pieces import NOBODYS_AFTER_S
from flowtx_engine.journal.records import InPieces, Piece, Write


@dataclass(slots=True, kw_only=True)
class _Payload:
    of: InPieces
    node: str
    at: float
    state: Literal["coming", "counts", "let go"] = "coming"
    pieces: dict[int, bytes] = field(default_factory=dict[int, bytes])


class MemoryPieces:
    """The payloads in pieces of one store."""

    def __init__(self) -> None:
        self._payloads: dict[str, _Payload] = {}

    def put(self, pieces: Sequence[Piece]) -> None:
        """Keep pieces; a first one begins its payload, and others of one that is not coming are dropped."""
        for piece in pieces:
            if piece.number == 0 and piece.of.id not in self._payloads:
                self._payloads[piece.of.id] = _Payload(of=piece.of, node=piece.node, at=piece.at)
            payload = self._payloads.get(piece.of.id)
            if payload is not None and payload.state == "coming":
                payload.pieces.setdefault(piece.number, piece.data)

    def count(self, write: Write) -> bool:
        """Let a write's payloads count, and let go of what it replaces; False, and nothing changes, if one may not."""
        if not all(_may_count(self._payloads.get(of.id), of) for of in write.counted):
            return False
        counted = {of.id for of in write.counted}
        for id, payload in self._payloads.items():
            if id in counted:
                payload.state = "counts"
            if payload.of.gid == write.gid and payload.state == "counts" and _is_replaced(payload.of, write):
                payload.state = "let go"
        return True

    def forget(self, gid: str) -> None:
        """Let go of what a transaction has that is deleted."""
        for payload in self._payloads.values():
            if payload.of.gid == gid and payload.state == "counts":
                payload.state = "let go"

    def read(self, of: InPieces, first: int, limit: int) -> list[bytes]:
        """See ``PieceStore.pieces``."""
        payload = self._payloads.get(of.id)
        pieces = {} if payload is None else payload.pieces
        wanted = range(first, first + limit)
        return [pieces[number] for number in itertools.takewhile(pieces.__contains__, wanted)]

    def uncounted(self, node: str, now_at: float, limit: int, *, is_alive: Callable[[str], bool]) -> list[str]:
        """See ``PieceStore.uncounted``."""

        def is_left(payload: _Payload) -> bool:
            if payload.state != "coming":
                return payload.state == "let go"
            if not payload.node:
                return payload.at < now_at - NOBODYS_AFTER_S
            return payload.node == node or not is_alive(payload.node)

        return list(itertools.islice((id for id, payload in self._payloads.items() if is_left(payload)), limit))

    def sweep(self, ids: Sequence[str], piece_max: int) -> int:
        """See ``PieceStore.sweep``."""
        deleted_count = 0
        for id in ids:
            payload = self._payloads.get(id)
            if payload is None or payload.state == "counts":
                continue
            payload.state = "let go"
            while payload.pieces and deleted_count < piece_max:
                payload.pieces.popitem()
                deleted_count += 1
            if not payload.pieces:
                del self._payloads[id]
        return deleted_count


def _may_count(payload: _Payload | None, of: InPieces) -> bool:
    if payload is None or payload.of.gid != of.gid or payload.state != "coming":
        return False
    return len(payload.pieces) == of.piece_count


def _is_replaced(of: InPieces, write: Write) -> bool:
    """True for what a journal that begins anew leaves behind, and for the result before another large one."""
    if of.field == "result":
        return any(new.field == "result" and new.id != of.id for new in write.counted)
    return of.seq is not None and write.keeps_from is not None and of.seq < write.keeps_from
