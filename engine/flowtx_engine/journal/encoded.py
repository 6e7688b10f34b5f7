"""A store whose payloads go through a codec: whatever is written is encoded, whatever is read is decoded.

A large payload comes in pieces, and each goes through the codec by itself; so does what stands in its place.

The law of this file: it is a ``Store`` before a ``Store`` and passes the same conformance kit. A payload that cannot be
encoded keeps out its own write and no other. Reading one transaction, or its history, raises for what cannot be
decoded; listing and claiming many does not, but leaves that one as it is stored: who needs it will say so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec

from flowtx_engine.journal.codec import (
    PayloadCodec,
    PayloadContext,
    decode_payload,
    decode_text,
    encode_payload,
    encode_text,
    head_of,
)
from flowtx_engine.journal.errors import JournalUnavailable, UnreadablePayload, UnstorableWrite
from flowtx_engine.journal.pieces import head_of_pieces, is_in_pieces
from flowtx_engine.journal.places import Admitted, LimitRule
from flowtx_engine.journal.records import (
    Filter,
    InPieces,
    JournalRow,
    NewTransaction,
    PayloadField,
    RowChange,
    Transaction,
    Write,
)
from flowtx_engine.journal.schedules import CronSchedule, Tick
from flowtx_engine.journal.store import Store, WriteResult
from flowtx_engine.journal.store_before import StoreBefore

_PAYLOADS_OF_CHANGE: tuple[PayloadField, ...] = ("options", "result")
_TEXTS_OF_CHANGE: tuple[PayloadField, ...] = ("reason", "last_error")


class EncodedStore(StoreBefore):
    """A ``Store`` behind a codec; closing it closes the store."""

    def __init__(self, inner: Store, codec: PayloadCodec) -> None:
        super().__init__(inner)
        self._codec = codec

    def __repr__(self) -> str:
        return f"<EncodedStore {self._codec!r} before {self._inner!r}>"

    # --- writing ---

    def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        """See ``Store.commit``."""
        results: list[WriteResult] = []
        encoded: list[Write] = []
        for write in writes:
            try:
                encoded.append(self._encoded(write))
                results.append(None)
            except JournalUnavailable:
                raise
            except Exception as error:  # whatever a codec raises
                results.append(self._unstorable(write, error))
        stored = iter(self._inner.commit(encoded) if encoded else ())
        return [next(stored) if result is None else result for result in results]

    def _encoded(self, write: Write) -> Write:
        codec, gid = self._codec, write.gid
        rows = tuple(
            msgspec.structs.replace(
                row,
                data=encode_payload(
                    codec, row.data, PayloadContext(gid=gid, field="data", seq=row.seq), head=_head_of(row.data)
                ),
            )
            for row in write.rows
        )
        match write.change:
            case NewTransaction() as new:
                change: NewTransaction | RowChange | None = msgspec.structs.replace(
                    new,
                    input=encode_payload(codec, new.input, _of_row(gid, "input")),
                    options=encode_payload(codec, new.options, _of_row(gid, "options")),
                    reason=encode_text(codec, new.reason, _of_row(gid, "reason")),
                )
            case RowChange() as old:
                change = self._encoded_change(gid, old)
            case None:
                change = None
        pieces = tuple(
            msgspec.structs.replace(piece, data=encode_payload(codec, piece.data, _of_piece(piece.of, piece.number)))
            for piece in write.pieces
        )
        return msgspec.structs.replace(write, rows=rows, change=change, pieces=pieces)

    def _encoded_change(self, gid: str, change: RowChange) -> RowChange:
        codec = self._codec
        payloads = {
            field: encode_payload(codec, value, _of_row(gid, field))
            for field in _PAYLOADS_OF_CHANGE
            if isinstance(value := getattr(change, field), bytes)
        }
        texts = {
            field: encode_text(codec, value, _of_row(gid, field))
            for field in _TEXTS_OF_CHANGE
            if isinstance(value := getattr(change, field), str)
        }
        return msgspec.structs.replace(change, **payloads, **texts)

    def _unstorable(self, write: Write, error: Exception) -> UnstorableWrite:
        refused = UnstorableWrite(
            f"{write}: {self._codec!r} cannot encode it: {type(error).__name__}: {error}",
            remedy="Mend the codec; what passes by itself, it should raise as JournalUnavailable.",
        )
        refused.__cause__ = error
        return refused

    # --- reading ---

    def transaction(self, gid: str) -> Transaction | None:
        """See ``Store.transaction``; raises ``UnreadablePayload``."""
        row = self._inner.transaction(gid)
        return None if row is None else self._decoded(row)

    def history(self, gid: str, from_seq: int = 0) -> list[JournalRow]:
        """See ``Store.history``; raises ``UnreadablePayload``."""
        return self._decoded_rows(self._inner.history(gid, from_seq))

    def histories(self, gids: Sequence[str], row_max: int) -> dict[str, list[JournalRow]]:
        """See ``Store.histories``; one that cannot be decoded is absent."""
        found: dict[str, list[JournalRow]] = {}
        for gid, rows in self._inner.histories(gids, row_max).items():
            with contextlib.suppress(UnreadablePayload, JournalUnavailable):
                found[gid] = self._decoded_rows(rows)
        return found

    def _decoded_rows(self, rows: Sequence[JournalRow]) -> list[JournalRow]:
        return [
            msgspec.structs.replace(
                row,
                data=decode_payload(self._codec, row.data, PayloadContext(gid=row.gid, field="data", seq=row.seq)),
            )
            for row in rows
        ]

    def transactions(self, wanted: Filter, *, before_id: int | None, limit: int) -> list[Transaction]:
        """See ``Store.transactions``; what cannot be decoded stays as it is stored."""
        rows = self._inner.transactions(wanted, before_id=before_id, limit=limit)
        return [self._decoded_if_possible(row) for row in rows]

    def claim(self, node: str, now_at: float, limit: int, workflows: Sequence[tuple[str, str]]) -> list[Transaction]:
        """See ``Store.claim``; what cannot be decoded stays as it is stored, because it is claimed all the same."""
        return [self._decoded_if_possible(row) for row in self._inner.claim(node, now_at, limit, workflows)]

    def _decoded_if_possible(self, row: Transaction) -> Transaction:
        try:
            return self._decoded(row)
        except (UnreadablePayload, JournalUnavailable):
            return row

    def _decoded(self, row: Transaction) -> Transaction:
        codec, gid = self._codec, row.gid
        result = row.result
        return msgspec.structs.replace(
            row,
            input=decode_payload(codec, row.input, _of_row(gid, "input")),
            options=decode_payload(codec, row.options, _of_row(gid, "options")),
            result=None if result is None else decode_payload(codec, result, _of_row(gid, "result")),
            reason=decode_text(codec, row.reason, _of_row(gid, "reason")),
            last_error=decode_text(codec, row.last_error, _of_row(gid, "last_error")),
        )

    # --- pieces ---

    def pieces(self, of: InPieces, first: int, limit: int) -> list[bytes]:
        """See ``PieceStore.pieces``; raises ``UnreadablePayload``."""
        found = self._inner.pieces(of, first, limit)
        return [decode_payload(self._codec, data, _of_piece(of, number)) for number, data in enumerate(found, first)]

    # Key-values are shared facts such as topics, and no payloads: they are kept as they are.

    # --- limits and schedules ---

    def admit(self, node: str, now_at: float, limit: int, rules: Sequence[LimitRule]) -> Admitted:
        """See ``PlaceStore.admit``."""
        admitted = self._inner.admit(node, now_at, limit, rules)
        rows = tuple(self._decoded_if_possible(row) for row in admitted.transactions)
        return msgspec.structs.replace(admitted, transactions=rows)

    def put_schedule(self, schedule: CronSchedule) -> None:
        """See ``ScheduleStore.put_schedule``."""
        input = encode_payload(self._codec, schedule.input, _of_schedule(schedule))
        self._inner.put_schedule(msgspec.structs.replace(schedule, input=input))

    def schedules(self) -> list[CronSchedule]:
        """See ``ScheduleStore.schedules``; an input that cannot be decoded stays as it is stored."""
        return [self._decoded_schedule(schedule) for schedule in self._inner.schedules()]

    def due_schedules(self, now_at: float) -> tuple[list[CronSchedule], float | None]:
        """See ``ScheduleStore.due_schedules``; an input that cannot be decoded stays as it is stored."""
        due, next_at = self._inner.due_schedules(now_at)
        return [self._decoded_schedule(schedule) for schedule in due], next_at

    def tick(self, tick: Tick) -> bool:
        """See ``ScheduleStore.tick``."""
        write = None if tick.write is None else self._encoded(tick.write)
        return self._inner.tick(msgspec.structs.replace(tick, write=write))

    def _decoded_schedule(self, schedule: CronSchedule) -> CronSchedule:
        try:
            input = decode_payload(self._codec, schedule.input, _of_schedule(schedule))
        except (UnreadablePayload, JournalUnavailable):
            return schedule
        return msgspec.structs.replace(schedule, input=input)


def _head_of(data: bytes) -> bytes:
    return head_of_pieces(data) if is_in_pieces(data) else head_of(data)


def _of_piece(of: InPieces, number: int) -> PayloadContext:
    return PayloadContext(gid=of.gid, field=of.field, seq=of.seq, payload=of.id, piece=number)


def _of_schedule(schedule: CronSchedule) -> PayloadContext:
    return PayloadContext(gid=f"schedule/{schedule.name}", field="input")


def _of_row(gid: str, field: PayloadField) -> PayloadContext:
    return PayloadContext(gid=gid, field=field)
