"""Law: what ``append_surely`` acknowledges is in the journal, once and in its place, whatever happens to answers."""

import itertools
from collections.abc import Sequence

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from flowtx.testing.faulty_store import CommitFault, FaultyStore
from flowtx.testing.journal_writes import begin, end, row, step
from flowtx_engine.journal.errors import ConflictError, JournalClosed, JournalUnavailable
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.records import JournalRow, Write
from flowtx_engine.journal.resolve import append_surely
from flowtx_engine.journal.store import Store, WriteResult

plans = st.lists(st.none() | st.sampled_from(CommitFault), max_size=30)


def by(plan: Sequence[CommitFault | None]) -> FaultyStore:
    return FaultyStore(MemoryStore(), lambda ordinal, _: plan[ordinal] if ordinal < len(plan) else None)


async def life(journal: Journal, gid: str, acknowledged: list[JournalRow]) -> None:
    for write in (begin(gid, row_count=2), step(gid, 2), step(gid, 3, row_count=2), end(gid, 5)):
        await append_surely(journal, write, pause_s=0.1)
        acknowledged += write.rows


@given(plan=plans, appender_count=st.integers(1, 5), random=st.random_module())
def test_every_acknowledged_write_is_there_exactly_once(
    plan: list[CommitFault | None], appender_count: int, random: object
) -> None:
    del random  # trio's scheduler takes another order for each
    store = by(plan)
    acknowledged: dict[str, list[JournalRow]] = {f"g{number}": [] for number in range(appender_count)}

    async def main() -> None:
        journal = Journal(store, batch_max=3)
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.serve)
            async with trio.open_nursery() as appenders:
                for gid, rows in acknowledged.items():
                    appenders.start_soon(life, journal, gid, rows)
            for gid, rows in acknowledged.items():
                assert await journal.history(gid) == rows
                assert [each.seq for each in rows] == list(range(6))
                found = await journal.transaction(gid)
                assert found is not None
                assert found.status == "succeed"
            await journal.aclose()

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def on(store: Store, write: Write) -> None:
    """Append surely on a journal of its own; a MockClock makes the pauses short."""
    journal = Journal(store)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.serve)
        try:
            await append_surely(journal, write, pause_s=0.05)
        finally:
            nursery.cancel_scope.cancel()


async def test_a_lost_answer_is_found_by_reading_and_not_written_again(autojump_clock: MockClock) -> None:
    del autojump_clock
    store = by([CommitFault.ANSWER_LOST])
    await on(store, begin("g"))
    assert store.commit_count == 1
    assert len(store.history("g")) == 1


async def test_rows_that_others_put_behind_ours_do_not_matter(autojump_clock: MockClock) -> None:
    del autojump_clock
    inner = MemoryStore()

    class Followed(FaultyStore):
        def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
            try:
                return super().commit(writes)
            finally:
                inner.commit([step("g", 1)])

    await on(Followed(inner, lambda ordinal, _: CommitFault.ANSWER_LOST), begin("g"))
    assert len(inner.history("g")) == 2


async def test_a_conflict_is_told_at_once(autojump_clock: MockClock) -> None:
    del autojump_clock
    store = MemoryStore()
    store.commit([begin("g", row_count=2)])
    with pytest.RaisesGroup(ConflictError):
        await on(store, step("g", 1))


@pytest.mark.parametrize("fault", CommitFault)
async def test_another_ones_rows_in_our_place_are_a_conflict(autojump_clock: MockClock, fault: CommitFault) -> None:
    del autojump_clock
    inner = MemoryStore()
    inner.commit([begin("g")])

    class Overtaken(FaultyStore):
        def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
            inner.commit([step("g", 1, data=b"another's")])
            return super().commit(writes)

    with pytest.RaisesGroup(pytest.RaisesExc(ConflictError, match="goes on at 2; the write expected 1")):
        await on(Overtaken(inner, lambda ordinal, _: fault), step("g", 1, data=b"ours"))
    assert [each.data for each in inner.history("g", 1)] == [b"another's"]


async def test_our_own_write_that_lands_late_is_no_conflict(autojump_clock: MockClock) -> None:
    """The answer is lost, nothing is there to read, and while we write again the first attempt arrives."""
    del autojump_clock

    class Late(MemoryStore):
        held: Sequence[Write] = ()

        def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
            if not self.held:
                self.held = writes
                raise JournalUnavailable("the answer was lost")
            super().commit(self.held)
            return super().commit(writes)

    store = Late()
    await on(store, begin("g"))
    assert store.history("g") == [row("g", 0)]


async def test_pauses_double_up_to_their_limit(autojump_clock: MockClock) -> None:
    del autojump_clock
    times: list[float] = []

    class Away(MemoryStore):
        def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
            times.append(trio.current_time())
            if len(times) < 6:
                raise JournalUnavailable("away")
            return super().commit(writes)

    journal = Journal(Away())
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.serve)
        await append_surely(journal, begin("g"), pause_s=0.5, pause_max_s=3.0)
        nursery.cancel_scope.cancel()
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses == pytest.approx([0.5, 1.0, 2.0, 3.0, 3.0])


async def test_it_can_be_cancelled_while_the_database_is_away(autojump_clock: MockClock) -> None:
    del autojump_clock
    with trio.move_on_after(60) as scope:
        await on(FaultyStore(MemoryStore(), lambda ordinal, _: CommitFault.NOTHING_WRITTEN), begin("g"))
    assert scope.cancelled_caught


async def test_a_closed_journal_is_not_waited_for() -> None:
    journal = Journal(MemoryStore())
    await journal.aclose()
    with pytest.raises(JournalClosed):
        await append_surely(journal, begin("g"), pause_s=0.05)
