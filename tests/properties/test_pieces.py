"""What is written is read, whatever its length is to that of a piece, and whatever a codec makes of it."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from flowtx.testing.faulty_store import CommitFault, FaultyStore
from flowtx.testing.journal_writes import begin, step
from flowtx_engine.journal.codec import PayloadContext
from flowtx_engine.journal.encoded import EncodedStore
from flowtx_engine.journal.errors import PiecesGone, UnreadablePayload
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.records import InPieces, RowChange
from flowtx_engine.journal.resolve import append_surely
from flowtx_engine.journal.sql import open_sqlite
from flowtx_engine.journal.store import Store
from flowtx_engine.journal.store_before import StoreBefore
from flowtx_engine.journal.whole import WholeStore

piece_sizes = st.integers(1, 40)


@st.composite
def at_the_border(draw: st.DrawFn) -> tuple[int, list[int]]:
    """The length of a piece, and lengths of three payloads around multiples of it."""
    piece = draw(piece_sizes)
    near = st.tuples(st.integers(0, 4), st.integers(-1, 1))
    return piece, [max(0, count * piece + more) for count, more in draw(st.lists(near, min_size=3, max_size=3))]


class Resized:
    """A codec that makes payloads longer, or shorter where they repeat themselves, and knows their places."""

    def __init__(self, *, grows: bool) -> None:
        self._grows = grows

    def encode(self, payload: bytes, context: PayloadContext) -> bytes:
        body = payload * 3 if self._grows else b"".join(_runs(payload))
        return str(context).encode() + b"\x00" + body

    def decode(self, stored: bytes, context: PayloadContext) -> bytes:
        place, _, body = stored.partition(b"\x00")
        if place != str(context).encode():
            raise ValueError(f"written as {place!r}")
        if self._grows:
            return body[: len(body) // 3]
        return b"".join(body[i : i + 1] * body[i + 1] for i in range(0, len(body), 2))


def _runs(payload: bytes) -> list[bytes]:
    runs = [(byte, len(list(same))) for byte, same in itertools.groupby(payload)]
    return [bytes([byte, part]) for byte, count in runs for part in [255] * (count // 255) + [count % 255] if part]


CODECS: list[Resized | None] = [None, Resized(grows=True), Resized(grows=False)]


def behind(codec: Resized | None, store: Store) -> Store:
    return store if codec is None else EncodedStore(store, codec)


async def keep(store: Store, piece_bytes: int, payloads: list[bytes]) -> None:
    """Write payloads as input, event and result, and read them again."""
    journal = Journal(store, piece_bytes=piece_bytes)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.serve)
        first, second, third = payloads
        await journal.append(begin("g", input=first))
        await journal.append(step("g", 1, RowChange(updated_at=1.0, result=third), data=second))
        row, events = await journal.transaction("g"), await journal.history("g", 1)
        assert row is not None
        assert (row.input, events[0].data, row.result) == (first, second, third)
        assert await journal.uncounted("", 1e12, 9) == []
        (stored,) = store.history("g", 1)
        assert (stored.data == second) == (len(second) <= piece_bytes)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("codec", CODECS, ids=["plain", "grows", "shrinks"])
@given(border=at_the_border(), fill=st.sampled_from([b"x", b"{1}", bytes(range(1, 200))]))
def test_payloads_at_the_borders_of_a_piece_are_read_as_they_were_written(
    codec: Resized | None, border: tuple[int, list[int]], fill: bytes
) -> None:
    piece_bytes, lengths = border
    payloads = [(fill * length)[:length] for length in lengths]
    trio.run(keep, behind(codec, MemoryStore()), piece_bytes, payloads)


@pytest.mark.parametrize("codec", CODECS, ids=["plain", "grows", "shrinks"])
@settings(max_examples=20)  # each makes a file
@given(border=at_the_border())
def test_they_are_in_a_file_too(codec: Resized | None, border: tuple[int, list[int]]) -> None:
    piece_bytes, lengths = border
    with tempfile.TemporaryDirectory() as folder:
        store = open_sqlite(f"sqlite:///{Path(folder) / 'j.db'}")
        try:
            trio.run(keep, behind(codec, store), piece_bytes, [b"ab" * (length // 2) for length in lengths])
        finally:
            store.close()


@given(
    plan=st.lists(st.none() | st.sampled_from(CommitFault), max_size=30),
    border=at_the_border(),
    sweeps=st.sets(st.integers(0, 30), max_size=3),
)
def test_whatever_fails_on_the_way_and_whoever_sweeps_a_write_is_in_once_and_whole(
    plan: list[CommitFault | None], border: tuple[int, list[int]], sweeps: set[int]
) -> None:
    piece_bytes, (length, *_) = border
    payload = b"x" * length
    inner = MemoryStore()

    def strike(ordinal: int, _: object) -> CommitFault | None:
        if ordinal in sweeps:  # another node, which takes us for dead
            inner.sweep(inner.uncounted("other", 1e12, 100), 2)
        return plan[ordinal] if ordinal < len(plan) else None

    async def write() -> None:
        journal = Journal(FaultyStore(inner, strike), piece_bytes=piece_bytes)
        journal.node = "me"
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.serve)
            await append_surely(journal, begin("g", input=payload), pause_s=0.01)
            await append_surely(journal, step("g", 1, data=payload), pause_s=0.01)
            row = await journal.transaction("g")
            assert row is not None
            assert row.input == payload
            assert [event.data for event in await journal.history("g", 1)] == [payload]
            while left := inner.uncounted("me", 0.0, 9):
                inner.sweep(left, 9)
            assert [event.data for event in await journal.history("g", 1)] == [payload], "after a sweep"
            nursery.cancel_scope.cancel()

    trio.run(write, clock=MockClock(autojump_threshold=0))


@given(border=at_the_border(), number=st.integers(0, 3), other=st.integers(0, 3))
def test_no_piece_can_stand_in_the_place_of_another(border: tuple[int, list[int]], number: int, other: int) -> None:
    context = PayloadContext(gid="g", field="data", seq=1, payload="p", piece=number)
    elsewhere = PayloadContext(gid="g", field="data", seq=1, payload="p", piece=other)
    row = PayloadContext(gid="g", field="data", seq=1)
    assert (str(context) == str(elsewhere)) == (number == other)
    assert str(context) != str(row)
    piece_bytes, (length, *_) = border
    inner = MemoryStore()
    whole = WholeStore(EncodedStore(inner, Resized(grows=True)), piece_bytes=piece_bytes)
    whole.commit([begin("g", input=b"x" * length)])
    with contextlib.suppress(UnreadablePayload, PiecesGone):
        found = WholeStore(EncodedStore(Swapped(inner, number, other), Resized(grows=True))).transaction("g")
        assert found is not None
        assert found.input == b"x" * length
        swapped = number != other and max(number, other) < -(-length // piece_bytes) and length > piece_bytes
        assert not swapped, "it was read from the pieces in another order"


class Swapped(StoreBefore):
    """A store that somebody has changed: two pieces of each payload stand in each other's places."""

    def __init__(self, inner: Store, one: int, other: int) -> None:
        super().__init__(inner)
        self._places = {one: other, other: one}

    def pieces(self, of: InPieces, first: int, limit: int) -> list[bytes]:
        """See ``PieceStore.pieces``."""
        numbers = [self._places.get(number, number) for number in range(first, first + limit)]
        return [data for number in numbers for data in self._inner.pieces(of, number, 1)]
