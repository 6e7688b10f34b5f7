"""The engine's words: run, start, wait, cancel, stop, rest, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import flowtx
from flowtx.testing.participants import Participants
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.records import JournalRow, Write
from flowtx_engine.journal.store import WriteResult
from flowtx_engine.kernel.events import Attempted, Cancelled, Ended, Parked
from flowtx_engine.runtime.engine import Engine

OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]

calls: list[str] = []


@pytest.fixture(autouse=True)
def forget_calls() -> None:
    calls.clear()


async def note(what: str) -> str:
    calls.append(what)
    return what


async def take_back(what: str) -> None:
    calls.append(f"{what} back")


@flowtx.workflow
async def greet(tx: flowtx.Tx, name: str) -> str:
    return f"hello {await tx.step(note, name)}"


@flowtx.workflow
async def wait_long(tx: flowtx.Tx, seconds: float) -> str:
    await tx.step(note, "before", compensate=take_back)
    await tx.sleep(seconds)
    await tx.step(note, "after", compensate=take_back)
    return "done"


@flowtx.workflow
async def call_url(tx: flowtx.Tx, path: str) -> object:
    return await tx.step(flowtx.http(f"http://service{path}"), {"n": 1}, compensate=flowtx.http("http://service/back"))


async def test_run_returns_the_result(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        assert await engine.run(greet, "ann") == "hello ann"


async def test_the_same_gid_and_input_is_the_same_run(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        assert await engine.run(greet, "ann", gid="g") == "hello ann"
        assert await engine.run(greet, "ann", gid="g") == "hello ann"
    assert calls == ["ann"]


async def test_the_same_gid_with_another_input_or_workflow_is_refused(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        await engine.run(greet, "ann", gid="g")
        with pytest.raises(flowtx.GidTaken, match="another input, status succeed"):
            await engine.run(greet, "bob", gid="g")
        with pytest.raises(flowtx.GidTaken, match="workflow greet"):
            await engine.run(wait_long, 1.0, gid="g")
    assert calls == ["ann"]


async def test_a_failed_run_says_why_and_what_turned_it_round(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async def refuse() -> None:
        raise flowtx.Refused("no room")

    @flowtx.workflow
    async def book(tx: flowtx.Tx) -> None:
        await tx.step(note, "flight", compensate=take_back)
        await tx.step(refuse)

    async with open_engine() as engine:
        with pytest.raises(flowtx.TransactionFailed, match="no room") as failed:
            await engine.run(book, gid="g")
        assert isinstance(failed.value.__cause__, flowtx.Refused)
        with pytest.raises(flowtx.TransactionFailed, match="no room") as again:
            await engine.wait("g")
        assert isinstance(again.value.__cause__, flowtx.Refused)
    assert calls == ["flight", "flight back"]


async def test_a_result_outlives_the_engine(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        await engine.run(greet, "ann", gid="g")
    async with open_engine() as engine:
        assert await engine.wait("g") == "hello ann"
        row = await engine.transaction("g")
        assert row is not None
        assert (row.status, row.owner, row.wake_at) == ("succeed", "", None)


async def test_waiting_for_nothing_says_so(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        with pytest.raises(flowtx.NoSuchTransaction, match="nobody"):
            await engine.wait("nobody")
        with pytest.raises(flowtx.NoSuchTransaction):
            await engine.cancel("nobody")
        with pytest.raises(flowtx.NoSuchTransaction):
            await engine.rest("nobody", timeout_s=1)


async def test_cancelling_unwinds_and_compensates(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        await engine.start(wait_long, 5.0, gid="g")
        await trio.sleep(1)
        await engine.cancel("g", reason="the customer left")
        with pytest.raises(flowtx.TransactionFailed, match="the customer left"):
            await engine.wait("g")
        with pytest.raises(flowtx.AlreadyFinal, match="failed"):
            await engine.cancel("g")
    assert calls == ["before", "before back"]


async def test_a_parked_run_can_be_cancelled(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        await engine.start(wait_long, 1e4, gid="g")
        await trio.sleep(1)
        row = await engine.transaction("g")
        assert row is not None
        assert row.owner == "", "a run that waits this long leaves memory"
        await engine.cancel("g", reason="enough")
        with pytest.raises(flowtx.TransactionFailed, match="enough"):
            await engine.wait("g")
        kinds = [type(event.fact) for event in await engine.history("g")]
        assert kinds[2:] == [Cancelled, kinds[3], Ended]
    assert calls == ["before", "before back"]


async def test_stopping_by_force_calls_nothing_more(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        for gid, seconds in (("active", 5.0), ("parked", 1e4)):
            await engine.start(wait_long, seconds, gid=gid)
            await trio.sleep(1)
            await engine.stop(gid, reason="by hand")
            with pytest.raises(flowtx.TransactionFailed, match="by hand"):
                await engine.wait(gid)
            with pytest.raises(flowtx.AlreadyFinal):
                await engine.stop(gid)
        await trio.sleep(2e4)
    assert calls == ["before", "before"]


async def test_a_parked_run_goes_on_when_its_time_has_come(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    limits = flowtx.EngineLimits(heartbeat_s=86_400, poll_s=3_600)
    async with open_engine(limits=limits) as engine:
        began_at = trio.current_time()
        assert await engine.run(wait_long, 30 * 86_400.0) == "done"
        assert trio.current_time() - began_at == pytest.approx(30 * 86_400, abs=2)


async def test_a_restart_does_not_lengthen_a_sleep(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    began_at = trio.current_time()
    async with open_engine() as engine:
        await engine.start(wait_long, 100.0, gid="g")
        await trio.sleep(60)
    async with open_engine([wait_long]) as engine:
        assert await engine.wait("g") == "done"
    assert trio.current_time() - began_at == pytest.approx(100, abs=2)
    assert calls == ["before", "after"]


async def test_unknown_code_waits_until_it_is_loaded(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        await engine.start(wait_long, 5.0, gid="g")
        await trio.sleep(1)
    async with open_engine() as engine:
        await trio.sleep(100)
        row = await engine.transaction("g")
        assert row is not None
        assert (row.status, row.owner) == ("submitted", "")
        assert await engine.run(wait_long, 5.0, gid="g") == "done"
    assert calls == ["before", "after"]


async def test_code_that_left_its_history_is_told_and_changes_nothing(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine() as engine:
        await engine.start(wait_long, 5.0, gid="g")
        await trio.sleep(1)

    @flowtx.workflow(name="wait_long")
    async def changed(tx: flowtx.Tx, seconds: float) -> str:
        await tx.step(note, "something else", compensate=take_back)
        return "done"

    async with open_engine([changed]) as engine:
        with pytest.raises(flowtx.NondeterminismError, match="something else"):
            await engine.wait("g")
        history = await engine.history("g")
        assert isinstance(history[-1].fact, Parked)
        row = await engine.transaction("g")
        assert row is not None
        assert "left its history" in row.last_error
        await trio.sleep(100)
        assert await engine.history("g") == history, "a run that cannot go on must not fill the journal"
    async with open_engine([changed]) as engine:
        with pytest.raises(flowtx.NondeterminismError):
            await engine.wait("g")
        assert await engine.history("g") == history
    async with open_engine([wait_long]) as engine:
        assert await engine.wait("g") == "done"
    assert calls == ["before", "after"]


async def test_every_fault_is_kept_and_the_pauses_grow(
    autojump_clock: MockClock, open_engine: OpenEngine, participants: Participants
) -> None:
    participants.script("/a", ["break", "hang", "ongoing", "accept silently"])
    async with open_engine() as engine:
        await engine.run(call_url, "/a", gid="g")
        attempted = [event.fact for event in await engine.history("g") if isinstance(event.fact, Attempted)]
    assert [(fact.outcome, fact.fault_count) for fact in attempted] == [
        ("unknown", 1),
        ("unknown", 2),
        ("ongoing", 2),
        ("unknown", 3),
    ]
    assert "answered 500: out of order" in attempted[0].error.text
    assert "did not answer within 30 s" in attempted[1].error.text
    pauses = [later.at - earlier.at for earlier, later in zip(participants.asked, participants.asked[1:], strict=False)]
    assert pauses[0] == pytest.approx(1, rel=0.2)
    assert pauses[1] == pytest.approx(30 + 2, rel=0.2)
    assert pauses[2] == pytest.approx(2, rel=0.2)
    assert pauses[3] == pytest.approx(4, rel=0.2)
    assert participants.acted_ops("g") == ["0 action"]


async def test_resting_is_told_before_the_next_attempt(
    autojump_clock: MockClock, open_engine: OpenEngine, participants: Participants
) -> None:
    participants.script("/a", ["ongoing"])
    async with open_engine() as engine:
        await engine.start(call_url, "/a", gid="g")
        row = await engine.rest("g", timeout_s=5)
        assert (row.status, len(participants.asked)) == ("submitted", 1)
        assert trio.current_time() < 1
        await engine.wait("g")
        assert (await engine.rest("g", timeout_s=5)).status == "succeed"


async def test_a_compensation_does_not_overtake_its_own_step(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async def slow_and_deaf() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        calls.append("acted")

    async def undo() -> None:
        calls.append("taken back")

    @flowtx.workflow
    async def deaf(tx: flowtx.Tx) -> None:
        await tx.step(slow_and_deaf, compensate=undo)

    async with open_engine() as engine:
        await engine.start(deaf, gid="g")
        await trio.sleep(1)
        await engine.cancel("g")
        with pytest.raises(flowtx.TransactionFailed):
            await engine.wait("g")
    assert calls == ["acted", "taken back"]


async def test_shutting_down_lets_calls_end_and_gives_the_rest_back(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async def slow() -> None:
        await trio.sleep(5)
        calls.append("slow")

    @flowtx.workflow
    async def two(tx: flowtx.Tx) -> None:
        await tx.step(slow)
        await tx.step(note, "second")

    async with open_engine() as engine:
        await engine.start(two, gid="g")
        await trio.sleep(1)
    assert calls == ["slow"], "the call in flight ended, and no other began"
    async with open_engine([two]) as engine:
        await engine.wait("g")
    assert calls == ["slow", "second"]


async def test_a_closing_engine_takes_no_new_work(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        pass
    with pytest.raises(flowtx.EngineClosed):
        await engine.start(greet, "ann")


async def test_bad_input_is_refused_and_leaves_nothing(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    limits = flowtx.EngineLimits(payload_bytes_max=1000, active_max=1)
    async with open_engine(limits=limits) as engine:
        with pytest.raises(flowtx.WorkflowError, match="128 characters, got 10000"):
            await engine.start(greet, "ann", gid="g" * 10_000)
        with pytest.raises(
            flowtx.PayloadError, match=r"the input of g has 2004 bytes, at most 1000 are taken \(payload_bytes_max\)"
        ):
            await engine.start(greet, "a" * 2000, gid="g")
        with pytest.raises(flowtx.PayloadError, match="workflow greet"):
            await engine.start(greet, 5, gid="g")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the point
        with pytest.raises(flowtx.WorkflowError, match="takes 1 argument"):
            await engine.start(greet, gid="g")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the point
        assert await engine.transactions() == []
        await engine.start(wait_long, 5.0, gid="one")
        with pytest.raises(flowtx.Overloaded, match="active_max"):
            await engine.start(wait_long, 5.0, gid="two")
        assert [row.gid for row in await engine.transactions()] == ["one"]


async def test_two_workflows_of_one_name_are_refused(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    @flowtx.workflow(name="greet")
    async def other(tx: flowtx.Tx) -> None: ...

    with pytest.raises(flowtx.WorkflowError, match="two workflows are called 'greet'"):
        async with open_engine([greet, other]):
            pass


async def test_a_chain_of_n_steps_costs_n_plus_one_commits_and_no_reads(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    @flowtx.workflow
    async def chain(tx: flowtx.Tx, n: int) -> None:
        for i in range(n):
            await tx.step(note, str(i))

    counting = CountingStore()
    async with open_engine(on=counting) as engine:
        for n in (1, 3, 10):
            counting.commit_count = counting.read_count = 0
            await engine.run(chain, n)
            assert (counting.commit_count, counting.read_count) == (n + 1, 0)


class CountingStore(MemoryStore):
    """Counts commits, and reads of transactions and journals."""

    def __init__(self) -> None:
        super().__init__()
        self.commit_count = 0
        self.read_count = 0

    def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        self.commit_count += 1
        return super().commit(writes)

    def transaction(self, gid: str) -> flowtx.Transaction | None:
        self.read_count += 1
        return super().transaction(gid)

    def history(self, gid: str, from_seq: int = 0) -> list[JournalRow]:
        self.read_count += 1
        return super().history(gid, from_seq)


async def test_what_the_block_raises_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with flowtx.open(f"sqlite:///{tmp_path / 'open.db'}"):
            raise ZeroDivisionError
