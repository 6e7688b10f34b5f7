"""Large payloads through a ``Journal``: in pieces, ahead of their event, and one a commit."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from flowtx.testing.faulty_store import CommitFault, FaultyStore
from flowtx.testing.journal_writes import begin, step
from flowtx_engine.journal.errors import ConflictError, JournalUnavailable, PiecesGone, UnreadablePayload
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.pieces import in_pieces, is_in_pieces, stand_in
from flowtx_engine.journal.records import Filter, InPieces, RowChange, Write
from flowtx_engine.journal.resolve import append_surely
from flowtx_engine.journal.sql import open_sqlite
from flowtx_engine.journal.store import Store, WriteResult
from flowtx_engine.journal.store_before import StoreBefore
from flowtx_engine.journal.whole import WholeStore

LISTED = Filter()
LONG = bytes(range(250))
PIECE = 25


class Noted(StoreBefore):
    """A store that notes its batches: of each write the gid, and the numbers of its pieces; and may do something."""

    def __init__(self, inner: Store, before: Callable[[Sequence[Write]], None] = lambda _: None) -> None:
        super().__init__(inner)
        self.before = before
        self.batches: list[list[str]] = []

    def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        """Note the batch, do what is to be done, and pass it on."""
        self.batches.append([f"{one.gid}{''.join(str(piece.number) for piece in one.pieces)}" for one in writes])
        self.before(writes)
        return super().commit(writes)


@asynccontextmanager
async def serving(store: Store) -> AsyncGenerator[Journal]:
    journal = Journal(store, piece_bytes=PIECE)
    journal.node = "me"
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.serve)
        yield journal
        await journal.aclose()


async def test_a_payload_of_one_piece_is_written_as_ever() -> None:
    store = Noted(MemoryStore())
    async with serving(store) as journal:
        await journal.append(begin("g", input=LONG[:PIECE]))
        await journal.append(step("g", 1, RowChange(updated_at=1.0, result=LONG[:PIECE]), data=LONG[:PIECE]))
        assert store.batches == [["g"], ["g"]]


async def test_each_piece_has_a_commit_that_others_share_and_nobody_waits_for_the_next() -> None:
    store = Noted(MemoryStore())
    async with serving(store) as journal:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.append, begin("big", input=LONG))
            for number in range(5):
                await journal.append(begin(f"s{number}"))
        assert sum(gid.startswith("s") for batch in store.batches[:6] for gid in batch) == 5
        pieces = [gid for batch in store.batches for gid in batch if gid.startswith("big")]
        assert pieces == [*(f"big{number}" for number in range(10)), "big"]
        assert max(sum(gid.startswith("big") for gid in batch) for batch in store.batches) == 1


async def test_those_who_write_large_payloads_take_turns() -> None:
    store = Noted(MemoryStore())
    async with serving(store) as journal:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.append, begin("a", input=LONG[:75]))
            nursery.start_soon(journal.append, begin("b", input=LONG[:75]))
        pieces = [gid[0] for batch in store.batches for gid in batch if len(gid) == 2]
        assert sorted(pieces) == list("aaabbb")
        assert all(pieces[turn] != pieces[turn + 1] for turn in (0, 2, 4)), pieces


async def test_what_is_stored_stands_in_and_what_is_read_is_whole() -> None:
    inner = MemoryStore()
    async with serving(inner) as journal:
        await journal.append(begin("g", input=LONG))
        await journal.append(step("g", 1, RowChange(updated_at=1.0, result=LONG[:26]), data=LONG[:249]))
        row, events = await journal.transaction("g"), await journal.history("g")
        assert row is not None
        assert (row.input, row.result, events[1].data) == (LONG, LONG[:26], LONG[:249])
        (listed,) = inner.transactions(LISTED, before_id=None, limit=9)
        assert is_in_pieces(listed.input)
        stored = (await journal.histories(["g"], 10))["g"]
        assert in_pieces(stored[1].data, gid="g", field="data", seq=1).size == 249
        assert await journal.whole("g", stored) == events


async def test_a_write_whose_pieces_were_swept_is_written_again() -> None:
    inner = MemoryStore()

    def sweep(writes: Sequence[Write]) -> None:
        if any(write.counted for write in writes) and len(store.batches) < 12:
            inner.sweep(inner.uncounted("me", 0.0, 10), 100)

    store = Noted(inner, sweep)
    async with serving(store) as journal:
        await journal.append(begin("g", input=LONG))
        found = await journal.transaction("g")
        assert found is not None
        assert found.input == LONG
        assert len(store.batches) == 22
        assert inner.uncounted("me", 0.0, 10) == []


async def test_what_a_conflict_leaves_behind_is_this_nodes_to_sweep() -> None:
    inner = MemoryStore()
    async with serving(inner) as journal:
        await journal.append(begin("g"))
        with pytest.raises(ConflictError) as raised:
            await journal.append(begin("g", input=LONG))
        assert not isinstance(raised.value, PiecesGone)
        (left,) = await journal.uncounted("me", 0.0, 10)
        assert not journal.is_under_way(left)
        assert await journal.sweep([left], 100) == 10


async def test_what_is_under_way_is_known_until_its_writer_gives_up() -> None:
    seen: list[bool] = []
    inner = MemoryStore()
    store = Noted(inner, lambda _: seen.extend(journal.is_under_way(id) for id in inner.uncounted("me", 0.0, 10)))
    async with serving(store) as journal:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.append, begin("g", input=LONG))
            while len(store.batches) < 5:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        (left,) = inner.uncounted("me", 0.0, 10)
        assert not journal.is_under_way(left)
        assert inner.transaction("g") is None
    assert seen
    assert all(seen)


@pytest.mark.parametrize("fault", CommitFault)
@pytest.mark.parametrize("ordinal", range(11))
async def test_a_lost_answer_costs_one_piece_and_not_all(
    autojump_clock: MockClock, ordinal: int, fault: CommitFault
) -> None:
    inner = MemoryStore()
    noted = Noted(inner)
    store = FaultyStore(noted, lambda number, _: fault if number == ordinal else None)
    async with serving(store) as journal:
        await append_surely(journal, begin("g", input=LONG), pause_s=1.0)
        found = await journal.transaction("g")
        assert found is not None
        assert found.input == LONG
        repeated = fault is CommitFault.ANSWER_LOST and ordinal < 10
        assert len(noted.batches) == 11 + repeated
        assert inner.uncounted("me", 0.0, 10) == []


async def test_pieces_that_are_nowhere_are_told(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    inner = open_sqlite(f"sqlite:///{path}")
    async with serving(inner) as journal:
        await journal.append(begin("g"))
        await journal.append(step("g", 1, data=LONG))
        (row,) = inner.history("g", 1)
        of = in_pieces(row.data, gid="g", field="data", seq=1)
        with closing(sqlite3.connect(path)) as connection, connection:  # what no law of ours allows
            connection.execute("DELETE FROM flowtx_pieces WHERE number = 3")
        with pytest.raises(UnreadablePayload, match="piece 3 of 10 of its data is not there"):
            await journal.history("g")
        assert len(inner.pieces(of, 0, 10)) == 3


def test_what_names_no_pieces_is_unreadable() -> None:
    of = InPieces(id="i", gid="g", field="data", seq=1, piece_count=3, size=5)
    stored = stand_in(of, head=b'{"kind":"kept"}')
    assert in_pieces(stored, gid="g", field="data", seq=1) == of
    with pytest.raises(UnreadablePayload, match="names no pieces"):
        in_pieces(stored[:-1], gid="g", field="data", seq=1)


async def test_a_closed_journal_takes_no_more_pieces() -> None:
    async with serving(MemoryStore()) as journal:
        pass
    with pytest.raises(JournalUnavailable):
        await journal.append(begin("g", input=LONG))


def test_commands_write_and_read_whole_payloads(tmp_path: Path) -> None:
    with closing(open_sqlite(f"sqlite:///{tmp_path / 'j.db'}")) as inner:
        store = WholeStore(inner, piece_bytes=PIECE)
        batch = [begin("g", input=LONG), begin("h"), begin("g", input=LONG), step("h", 1, data=LONG[:75])]
        assert [type(result) for result in store.commit(batch)] == [type(None), type(None), ConflictError, type(None)]
        found = store.transaction("g")
        assert found is not None
        assert (found.input, store.history("h")[1].data) == (LONG, LONG[:75])
        assert len(inner.uncounted("", 1e12, 10)) == 1
        (one, *_) = inner.transactions(LISTED, before_id=None, limit=9)
        assert one.gid == "h"
