"""What others say to a run: signals, prepared transactions, telling and hastening."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import msgspec
import pytest
import trio
import trio.testing

import flowtx
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.records import JournalRow, NewTransaction, RowChange, Transaction, Write
from flowtx_engine.kernel.dialogue import ANSWERS_BYTES_MAX
from flowtx_engine.kernel.events import Began, Ended, Event, Signalled
from flowtx_engine.runtime.history import row_of
from flowtx_engine.runtime.limits import EngineLimits
from flowtx_engine.runtime.outside import Told
from flowtx_engine.runtime.telling import AlreadyFinal

OpenEngine = Callable[..., AbstractAsyncContextManager[flowtx.Engine]]


@flowtx.workflow
async def wait_for(tx: flowtx.Tx, count: int) -> list[int]:
    return [await tx.signal("n", type=int) for _ in range(count)]


async def parked(engine: flowtx.Engine, gid: str) -> Transaction:
    while True:
        row = await engine.transaction(gid)
        if row is not None and not row.owner:
            await trio.testing.wait_all_tasks_blocked()  # its driver has gone
            return row
        await trio.sleep(0.01)


async def test_a_signal_reaches_an_active_a_parked_and_another_nodes_run(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine([wait_for]) as one, open_engine([wait_for]) as other:
        await one.start(wait_for, 3, gid="g")
        await one.signal("g", "n", 1)
        await parked(one, "g")
        await other.signal("g", "n", 2, key="k")
        await one.signal("g", "n", 2, key="k")
        await one.signal("g", "n", 3)
        assert await one.wait("g") == [1, 2, 3]
        event_count = len(await one.history("g"))
        await other.signal("g", "n", 2, key="k")
        assert len(await one.history("g")) == event_count, "who repeats what has come is not told that it is too late"
        with pytest.raises(AlreadyFinal):
            await one.signal("g", "n", 4)
        with pytest.raises(AlreadyFinal):
            await one.signal("g", "n", 4, key="another")
        with pytest.raises(flowtx.NoSuchTransaction):
            await one.signal("h", "n", 4)


async def test_a_signal_that_cannot_be_stored_is_refused(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine([wait_for], limits=EngineLimits(payload_bytes_max=10)) as engine:
        await engine.start(wait_for, 1, gid="g")
        with pytest.raises(flowtx.PayloadError, match="signal n"):
            await engine.signal("g", "n", object())
        with pytest.raises(flowtx.PayloadError, match="payload_bytes_max"):
            await engine.signal("g", "n", "x" * 20)
        assert len(await engine.history("g")) <= 2


@dataclass
class Basket:
    items: list[str]


@flowtx.workflow
async def fill(tx: flowtx.Tx, size: int = 1) -> Basket:
    basket = Basket([])
    tx.expose("basket", lambda: basket)
    while len(basket.items) < size:
        update = await tx.update("add", type=str)
        basket.items.append(update.value)
        update.answer(basket)
    return basket


async def test_what_a_run_answers_is_read_as_the_type_that_is_asked_for(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine([fill]) as engine:
        await engine.start(fill, gid="g")
        assert await engine.query("g", "basket", type=Basket) == Basket([])
        with pytest.raises(flowtx.PayloadError, match="what g answers to basket does not fit int"):
            await engine.query("g", "basket", type=int)
        assert await engine.update("g", "add", "lamp", key="1", type=Basket | None) == Basket(["lamp"])
        assert await engine.update("g", "add", "lamp", key="1") == {"items": ["lamp"]}
        assert await engine.wait("g", type=Basket) == Basket(["lamp"])
        assert await engine.wait("g") == {"items": ["lamp"]}
        with pytest.raises(flowtx.PayloadError, match="the result of g does not fit int"):
            await engine.wait("g", type=int)


async def test_an_update_that_does_not_fit_is_refused_and_the_run_waits_for_the_next(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine([fill]) as engine:
        await engine.start(fill, gid="g")
        for _ in range(2):  # the same key again gets the same answer
            with pytest.raises(flowtx.Refused, match=r"update add does not fit str: .*; 3 was sent, and tx\.update"):
                await engine.update("g", "add", 3, key="1")
        await parked(engine, "g")  # and what is replayed refuses it, too
        assert await engine.update("g", "add", "lamp", key="2") == {"items": ["lamp"]}
        assert await engine.wait("g") == {"items": ["lamp"]}


async def test_a_signal_that_does_not_fit_ends_the_run_with_its_value_and_what_waited(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine([wait_for]) as engine:
        await engine.start(wait_for, 1, gid="g")
        await engine.signal("g", "n", "x" * 500)
        with pytest.raises(flowtx.TransactionFailed) as failed:
            await engine.wait("g")
    assert "signal n does not fit int" in failed.value.reason
    assert "xxx... was sent, and tx.signal('n', type=int) awaits it" in failed.value.reason
    assert len(failed.value.reason) < 250


async def test_only_a_workflow_can_be_run(autojump_clock: trio.testing.MockClock, open_engine: OpenEngine) -> None:
    async def undeclared(tx: flowtx.Tx) -> None: ...

    async with open_engine() as engine:
        with pytest.raises(flowtx.WorkflowError, match=r"engine\.run takes a workflow, got .*undeclared"):
            await engine.run(undeclared)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the point
        with pytest.raises(flowtx.WorkflowError, match=r"engine.start takes a workflow, got .*"):
            await engine.start("fill")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the point
        assert await engine.transactions() == []
    with pytest.raises(flowtx.WorkflowError, match="workflows= takes a workflow"):
        async with open_engine([undeclared]):
            pass


@flowtx.workflow(name="two phases")
async def two_phases(tx: flowtx.Tx) -> str:
    with tx.move_on_after(30):
        verdict = await tx.signal("verdict", type=str)
        tx.submitted()
        await tx.sleep(1)
        return verdict
    raise flowtx.Abort("Timeout after 30 seconds")


def submit(row: Transaction, events: list[Event]) -> Told | None:
    if row.status != "prepared":
        return None
    value = msgspec.Raw(b'"go"')
    return Told(facts=(Signalled(name="verdict", value=value),), status="submitted")


async def test_a_prepared_transaction_belongs_to_nobody_until_it_is_submitted(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine([two_phases]) as engine:
        row, is_new = await engine.prepare(two_phases, b"[]", gid="g", pattern="tcc", wake_after_s=30)
        assert (row.status, row.owner, is_new) == ("prepared", "", True)
        _, is_new = await engine.prepare(two_phases, b"[]", gid="g", pattern="tcc", wake_after_s=30)
        assert not is_new
        await trio.sleep(10)
        assert len(await engine.history("g")) == 1
        row = await engine.tell("g", submit)
        assert (row.status, row.owner) == ("submitted", engine.node)
        assert await engine.wait("g") == "go"
        assert (await engine.tell("g", submit)).status == "succeed"


async def test_a_prepared_transaction_that_nobody_submits_times_out(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine([two_phases]) as engine:
        await engine.prepare(two_phases, b"[]", gid="g", pattern="tcc", wake_after_s=30)
        with pytest.raises(flowtx.TransactionFailed, match="Timeout after 30 seconds"):
            await engine.wait("g")
        assert [type(event.fact).__name__ for event in await engine.history("g")] == ["Began", "Fired", "Ended"]


async def test_what_is_told_without_waking_stays_where_it_is(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    def note(row: Transaction, events: list[Event]) -> Told:
        return Told(facts=(Signalled(name="branch"),), wakes=False)

    async with open_engine([two_phases]) as engine:
        await engine.prepare(two_phases, b"[]", gid="g", pattern="tcc", wake_after_s=30)
        await engine.tell("g", note)
        await trio.sleep(5)
        row = await engine.transaction("g")
        assert row is not None
        assert (row.status, row.owner, len(await engine.history("g"))) == ("prepared", "", 2)


class Racing(MemoryStore):
    """Once armed, a run ends right after the next thing that is read of it."""

    end: Callable[[], None] | None = None

    def transaction(self, gid: str) -> Transaction | None:
        found = super().transaction(gid)
        self._race()
        return found

    def history(self, gid: str, from_seq: int = 0) -> list[JournalRow]:
        found = super().history(gid, from_seq)
        self._race()
        return found

    def _race(self) -> None:
        end, self.end = self.end, None
        if end is not None:
            end()


async def test_nothing_is_appended_behind_an_end_that_comes_while_one_decides(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    store = Racing()

    def end() -> None:
        ended = Event(seq=2, at=trio.current_time(), address="", fact=Ended(status="failed"))
        change = RowChange(updated_at=ended.at, status="failed", result=b"null", finished_at=ended.at)
        assert store.commit([Write(gid="g", rows=(row_of("g", ended),), change=change)]) == [None]

    async with open_engine([wait_for], on=store) as engine:
        await engine.start(wait_for, 1, gid="g")
        await parked(engine, "g")
        store.end = end
        with pytest.raises(AlreadyFinal):
            await engine.signal("g", "n", 1)
        assert [row.kind for row in store.history("g")] == ["began", "parked", "ended"]


async def test_what_is_stored_while_one_looks_is_told_all_the_same(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    store = Racing()
    async with open_engine([two_phases], on=store) as engine:
        new = NewTransaction(
            pattern="tcc",
            workflow="two phases",
            version="1",
            status="prepared",
            owner="",
            wake_at=None,
            input=b"[]",
            options=b"{}",
            created_at=0.0,
        )
        began = Event(seq=0, at=engine.now_at(), address="", fact=Began(workflow="two phases", is_prepared=True))
        first = Write(gid="g", rows=(row_of("g", began),), change=new)

        def begin() -> None:
            assert store.commit([first]) == [None]

        store.end = begin
        assert (await engine.tell("g", submit)).status == "submitted"
        assert await engine.wait("g") == "go"


async def test_hastening_makes_what_is_due_later_due_now(
    autojump_clock: trio.testing.MockClock, open_engine: OpenEngine
) -> None:
    calls: list[float] = []

    def flaky() -> str:
        calls.append(trio.current_time())
        if len(calls) == 1:
            raise RuntimeError("not yet")
        return "done"

    @flowtx.workflow
    async def patient(tx: flowtx.Tx) -> str:
        return await tx.step(flaky, retry=flowtx.Retry(first_s=3600, cap_s=3600, jitter=0))

    async with open_engine([patient]) as engine:
        await engine.start(patient, gid="g")
        await parked(engine, "g")
        began = trio.current_time()
        await engine.hasten("g")
        assert await engine.wait("g") == "done"
        assert trio.current_time() - began < 60


@flowtx.workflow
async def rounds(tx: flowtx.Tx, round: int) -> int:
    update = await tx.update("next", type=int)
    if update.value:
        update.answer("x" * update.value)
    if round == 3:
        return round
    return tx.restart(round + 1)


async def test_an_answer_outlives_a_restart_and_what_will_not_be_answered_is_said_at_once(
    open_engine: OpenEngine,
) -> None:
    async with open_engine([rounds]) as engine:
        await engine.start(rounds, 0, gid="g")
        with trio.fail_after(10):
            for _ in range(3):
                assert await engine.update("g", "next", 5, key="short") == "xxxxx"
            assert len(await engine.update("g", "next", ANSWERS_BYTES_MAX, key="long")) == ANSWERS_BYTES_MAX
            with pytest.raises(flowtx.Unanswered, match="took update silent before it restarted"):
                await engine.update("g", "next", 0, key="silent")
            assert len(await engine.update("g", "next", 5, key="long")) == ANSWERS_BYTES_MAX
            with pytest.raises(flowtx.Unanswered, match="took update short before it restarted"):
                await engine.update("g", "next", 5, key="short")
            assert await engine.update("g", "next", 5, key="last") == "xxxxx"
            assert await engine.wait("g") == 3
