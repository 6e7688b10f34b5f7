"""A store whose large payloads are whole: for those who write and read without a ``Journal``, such as commands.

The law of this file: it is a ``Store`` before a ``Store``. What it is given is cut into pieces, each with a commit of
its own, before the batch that names them; single transactions and histories that are read are put together. Listing
and claiming are not: they give what is stored, and read no piece.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowtx_engine.journal.pieces import PIECE_BYTES, Large, is_large, whole_rows, whole_transaction
from flowtx_engine.journal.records import JournalRow, Transaction, Write
from flowtx_engine.journal.store import Store, WriteResult
from flowtx_engine.journal.store_before import StoreBefore


class WholeStore(StoreBefore):
    """A ``Store`` whose callers know of no pieces; closing it closes the store."""

    def __init__(self, inner: Store, *, piece_bytes: int = PIECE_BYTES) -> None:
        super().__init__(inner)
        self._piece_bytes = piece_bytes

    def __repr__(self) -> str:
        return f"<WholeStore before {self._inner!r}>"

    def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        """See ``Store.commit``."""
        results: list[WriteResult] = []
        cut: list[Write] = []
        for write in writes:
            one = self._put_pieces(write)
            if isinstance(one, Write):
                cut.append(one)
            results.append(one if isinstance(one, Exception) else None)
        stored = iter(self._inner.commit(cut))
        return [next(stored) if result is None else result for result in results]

    def _put_pieces(self, write: Write) -> Write | Exception:
        if not is_large(write, self._piece_bytes):
            return write
        large = Large(write, node="", piece_bytes=self._piece_bytes)
        while (piece := large.next_piece()) is not None:
            (result,) = self._inner.commit([piece])
            if result is not None:
                return result
            large.went_on()
        return large.write

    def transaction(self, gid: str) -> Transaction | None:
        """See ``Store.transaction``; raises ``PiecesGone`` when its payload was replaced meanwhile."""
        row = super().transaction(gid)
        return None if row is None else whole_transaction(self._inner, row)

    def history(self, gid: str, from_seq: int = 0) -> list[JournalRow]:
        """See ``Store.history``; raises ``PiecesGone`` when its journal began anew meanwhile."""
        return whole_rows(self._inner, super().history(gid, from_seq))
