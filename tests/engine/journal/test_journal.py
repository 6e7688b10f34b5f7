"""The async journal: group commit, answers, cancellation, closing."""

import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from flowtx.testing.faulty_store import CommitFault, FaultyStore
from flowtx.testing.journal_writes import WORKFLOW, begin, end, step
from flowtx_engine.journal.errors import ConflictError, JournalClosed, JournalUnavailable
from flowtx_engine.journal.journal import BATCH_BYTES_MAX, Journal
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.pieces import PIECE_BYTES
from flowtx_engine.journal.records import Filter, JournalRow, Write
from flowtx_engine.journal.sql import open_sqlite
from flowtx_engine.journal.store import Store, WriteResult


class Gate(MemoryStore):
    """A store whose commits, in a worker thread, wait until they are let through; remembers its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.is_local = False
        self.batches: list[list[str]] = []
        self.may_pass = threading.Semaphore(0)
        self.arrived = threading.Semaphore(0)

    def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        self.batches.append([write.gid for write in writes])
        self.arrived.release()
        self.may_pass.acquire()
        return super().commit(writes)

    async def wait_until_busy(self) -> None:
        await trio.to_thread.run_sync(self.arrived.acquire)

    def let_pass(self, count: int = 1) -> None:
        self.may_pass.release(count)


@asynccontextmanager
async def serving(store: Store, *, batch_max: int = 512, piece_bytes: int = PIECE_BYTES) -> AsyncGenerator[Journal]:
    """A journal with its committer, closed at the end."""
    journal = Journal(store, batch_max=batch_max, piece_bytes=piece_bytes)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.serve)
        await trio.testing.wait_all_tasks_blocked()
        yield journal
        await journal.aclose()


async def caught(append: Callable[[Write], Awaitable[None]], write: Write, into: dict[str, Exception | None]) -> None:
    """Append and note what became of it under the gid and seq."""
    key = f"{write.gid}{write.rows[0].seq}"
    try:
        await append(write)
    except Exception as error:
        into[key] = error
    else:
        into[key] = None


async def test_sixty_four_appenders_share_few_commits(tmp_path: Path) -> None:
    async with serving(open_sqlite(f"sqlite:///{tmp_path}/j.db")) as journal:

        async def one(gid: str) -> None:
            await journal.append(begin(gid))
            for seq in range(1, 9):
                await journal.append(step(gid, seq))
            await journal.append(end(gid, 9))

        async with trio.open_nursery() as appenders:
            for number in range(64):
                appenders.start_soon(one, f"g{number}")
        statistics = journal.statistics()
        assert (statistics.write_count, statistics.row_count) == (640, 640)
        assert statistics.conflict_count == statistics.pending_count == 0
        # Ten rounds in step; a few more, because tasks need not be in step.
        assert statistics.commit_count <= 20, statistics


async def test_what_gathers_during_a_commit_goes_into_the_next_one() -> None:
    store = Gate()
    async with serving(store) as journal, trio.open_nursery() as appenders:
        appenders.start_soon(journal.append, begin("first"))
        await store.wait_until_busy()
        for number in range(5):
            appenders.start_soon(journal.append, begin(f"g{number}"))
        await trio.testing.wait_all_tasks_blocked()
        assert journal.statistics().pending_count == 6
        store.let_pass(2)
    assert [len(batch) for batch in store.batches] == [1, 5]


async def test_writes_are_taken_first_come_first_served_and_no_more_than_a_batch_holds() -> None:
    store = Gate()
    async with serving(store, batch_max=4) as journal, trio.open_nursery() as appenders:
        appenders.start_soon(journal.append, begin("first"))
        await store.wait_until_busy()
        for number in range(10):
            appenders.start_soon(journal.append, begin(f"g{number}"))
            await trio.testing.wait_all_tasks_blocked()
        store.let_pass(4)
    assert store.batches == [
        ["first"],
        ["g0", "g1", "g2", "g3"],
        ["g4", "g5", "g6", "g7"],
        ["g8", "g9"],
    ]


async def test_a_batch_holds_no_more_bytes_than_its_limit_but_always_one_write() -> None:
    store = Gate()
    half = bytes(BATCH_BYTES_MAX // 2 + 1)
    async with serving(store, piece_bytes=2 * len(half)) as journal, trio.open_nursery() as appenders:
        appenders.start_soon(journal.append, begin("first", input=2 * half))
        await store.wait_until_busy()
        for number in range(3):
            appenders.start_soon(journal.append, begin(f"g{number}", input=half))
            await trio.testing.wait_all_tasks_blocked()
        store.let_pass(4)
    assert store.batches == [["first"], ["g0"], ["g1"], ["g2"]]


# check 203
async def test_a_conflict_reaches_only_its_own_appender() -> None:
    answers: dict[str, Exception | None] = {}
    async with serving(MemoryStore()) as journal:
        await journal.append(begin("g"))
        async with trio.open_nursery() as appenders:
            for write in (begin("g"), begin("h"), step("g", 1), step("x", 1)):
                appenders.start_soon(caught, journal.append, write, answers)
        assert journal.statistics().conflict_count == 2
    assert answers["h0"] is answers["g1"] is None
    assert isinstance(answers["g0"], ConflictError)
    assert isinstance(answers["x1"], ConflictError)
    assert "x" in str(answers["x1"])
    assert "Read the transaction again" in str(answers["x1"])


async def test_a_write_that_is_cancelled_in_the_queue_is_never_written() -> None:
    store = Gate()
    async with serving(store) as journal, trio.open_nursery() as appenders:
        appenders.start_soon(journal.append, begin("first"))
        await store.wait_until_busy()
        with trio.CancelScope() as scope:
            appenders.start_soon(journal.append, begin("before"))
            async with trio.open_nursery() as inner:
                inner.start_soon(journal.append, begin("withdrawn"))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught
        assert journal.statistics().pending_count == 2
        store.let_pass(2)
    assert store.batches == [["first"], ["before"]]
    assert journal.statistics().pending_count == 0


async def test_a_write_that_is_cancelled_in_flight_is_written_and_its_task_is_gone_at_once() -> None:
    store = Gate()
    async with serving(store) as journal:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(journal.append, begin("abandoned"))
                await store.wait_until_busy()
                scope.cancel()
        assert scope.cancelled_caught
        assert journal.statistics().pending_count == 1
        assert await journal.transaction("abandoned") is None
        store.let_pass(2)
        await journal.append(begin("next"))
        assert await journal.transaction("abandoned") is not None
        assert journal.statistics().write_count == 2


async def test_an_append_in_a_cancelled_scope_writes_nothing() -> None:
    async with serving(MemoryStore()) as journal:
        with trio.CancelScope() as scope:
            scope.cancel()
            await journal.append(begin("g"))
        await journal.append(begin("h"))
        assert await journal.transaction("g") is None
        assert journal.statistics().write_count == 1


async def test_a_batch_that_fails_tells_everybody_in_it_and_the_next_one_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers: dict[str, Exception | None] = {}
    store = FaultyStore(MemoryStore(), lambda ordinal, _: CommitFault.NOTHING_WRITTEN if ordinal == 0 else None)
    async with serving(store) as journal:
        async with trio.open_nursery() as appenders:
            for number in range(5):
                appenders.start_soon(caught, journal.append, begin(f"g{number}"), answers)
        errors = list(answers.values())
        assert all(isinstance(error, JournalUnavailable) for error in errors)
        assert len({id(error) for error in errors}) == 5, "one error object gathers the tracebacks of all tasks"
        assert journal.statistics().commit_count == 0
        assert len(caplog.records) == 1, "one warning a batch, however many wait"
        await journal.append(begin("g0"))


class Broken(MemoryStore):
    """A store with a bug that shows once."""

    is_broken = True

    def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        if self.is_broken:
            self.is_broken = False
            raise ZeroDivisionError("a bug")
        return super().commit(writes)


async def test_a_bug_of_the_store_reaches_everybody_in_the_batch_and_the_committer_lives_on() -> None:
    answers: dict[str, Exception | None] = {}
    async with serving(Broken()) as journal:
        async with trio.open_nursery() as appenders:
            appenders.start_soon(caught, journal.append, begin("g"), answers)
            appenders.start_soon(caught, journal.append, begin("h"), answers)
        assert [type(error) for error in answers.values()] == [ZeroDivisionError, ZeroDivisionError]
        await journal.append(begin("g"))


async def test_a_malformed_write_is_refused_before_it_can_hurt_others() -> None:
    async with serving(MemoryStore()) as journal:
        good = begin("g", row_count=2)
        for bad, words in (
            (Write(gid="g", rows=(), change=good.change), "no journal row"),
            (Write(gid="", rows=good.rows, change=good.change), "1 to 128 characters"),
            (begin("x" * 129), "1 to 128 characters"),
            (Write(gid="h", rows=good.rows, change=good.change), "carries a row of 'g'"),
            (Write(gid="g", rows=good.rows[::-1]), "carries seq 0 where 2 must follow"),
            (Write(gid="g", rows=good.rows), "carries a NewTransaction"),
            (Write(gid="g", rows=good.rows[1:], change=good.change), "carries a NewTransaction"),
        ):
            with pytest.raises(AssertionError, match=words):
                await journal.append(bad)
        assert journal.statistics().pending_count == 0
        await journal.append(good)


async def test_closing_writes_what_is_queued_and_then_takes_no_more() -> None:
    store = Gate()
    journal = Journal(store)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.serve)
        nursery.start_soon(journal.append, begin("in flight"))
        await store.wait_until_busy()
        nursery.start_soon(journal.append, begin("queued"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(journal.aclose)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(JournalClosed, match="it was closed"):
            await journal.append(begin("late"))
        store.let_pass(2)
    assert store.batches == [["in flight"], ["queued"]]
    with pytest.raises(JournalUnavailable):
        await journal.transaction("queued")
    await journal.aclose()  # twice is harmless


async def test_a_committer_that_is_cancelled_finishes_its_commit_and_turns_the_queue_away() -> None:
    store = Gate()
    journal = Journal(store)
    answers: dict[str, Exception | None] = {}
    async with trio.open_nursery() as appenders, trio.open_nursery() as nursery:
        await nursery.start(journal.serve)
        appenders.start_soon(caught, journal.append, begin("in flight"), answers)
        await store.wait_until_busy()
        appenders.start_soon(caught, journal.append, begin("queued"), answers)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        store.let_pass(2)
    assert answers["in flight0"] is None
    assert isinstance(answers["queued0"], JournalClosed)
    with pytest.raises(JournalClosed, match="its committer has ended"):
        await journal.append(begin("late"))
    await journal.aclose()


async def test_a_committer_that_is_cancelled_when_it_has_just_been_woken_writes_what_it_was_woken_for() -> None:
    class CancelWhenWoken(trio.abc.Instrument):
        scope: trio.CancelScope | None = None

        def task_scheduled(self, task: trio.lowlevel.Task) -> None:
            if self.scope is not None and "serve" in task.name:
                self.scope.cancel()

    answers: dict[str, Exception | None] = {}
    store = Gate()
    store.let_pass(1)
    journal = Journal(store)
    instrument = CancelWhenWoken()
    trio.lowlevel.add_instrument(instrument)
    async with trio.open_nursery() as appenders, trio.open_nursery() as nursery:
        await nursery.start(journal.serve)
        await trio.testing.wait_all_tasks_blocked()
        instrument.scope = nursery.cancel_scope
        appenders.start_soon(caught, journal.append, begin("g"), answers)
    trio.lowlevel.remove_instrument(instrument)
    assert answers == {"g0": None}


async def test_closing_in_a_cancelled_scope_still_closes_the_store(tmp_path: Path) -> None:
    store = open_sqlite(f"sqlite:///{tmp_path}/j.db")
    journal = Journal(store)
    with trio.CancelScope() as scope:
        scope.cancel()
        await journal.aclose()
    with pytest.raises(JournalClosed):
        store.transaction("g")


async def test_a_journal_that_was_never_served_turns_its_queue_away_when_it_is_closed() -> None:
    journal = Journal(MemoryStore())
    answers: dict[str, Exception | None] = {}
    async with trio.open_nursery() as appenders:
        appenders.start_soon(caught, journal.append, begin("g"), answers)
        await trio.testing.wait_all_tasks_blocked()
        await journal.aclose()
    assert isinstance(answers["g0"], JournalClosed)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_reads_have_the_names_of_the_store(kind: str, tmp_path: Path) -> None:
    store: Store = MemoryStore() if kind == "memory" else open_sqlite(f"sqlite:///{tmp_path}/j.db")
    async with serving(store) as journal:
        await journal.append(begin("g", wake_at=5.0))
        await journal.beat("n", 1.0, 9.0)
        assert await journal.next_wake_at([WORKFLOW]) == 5.0
        assert [one.gid for one in await journal.claim("n", 6.0, 10, [WORKFLOW])] == ["g"]
        assert await journal.owned("n") == ["g"]
        assert await journal.nudged("n", 0.0) == []
        assert [row.seq for row in await journal.history("g")] == [0]
        assert await journal.history("g", 1) == []
        assert [one.gid for one in await journal.transactions(Filter(), before_id=None, limit=5)] == ["g"]
        await journal.release("n", 7.0)
        row = await journal.transaction("g")
        assert row is not None
        assert (row.owner, row.wake_at) == ("", 7.0)


async def test_a_slow_read_does_not_keep_the_heartbeat_waiting() -> None:
    class SlowReads(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.is_local = False
            self.may_pass = threading.Event()

        def history(self, gid: str, from_seq: int = 0) -> list[JournalRow]:
            self.may_pass.wait()
            return []

    store = SlowReads()
    async with serving(store) as journal, trio.open_nursery() as readers:
        for _ in range(20):
            readers.start_soon(journal.history, "g")
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(30):
            await journal.beat("n", 1.0, 2.0)
        store.may_pass.set()
