"""What holds for every pattern: prepared, submitted, stopped, hastened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from trio.testing import MockClock

from flowtx.dtm.operations.abort import abort
from flowtx.dtm.operations.desk import Desk, answered
from flowtx.dtm.operations.hasten import reset_cron_time, reset_next_cron_time
from flowtx.dtm.operations.prepare import prepare
from flowtx.dtm.operations.stop import force_stop
from flowtx.dtm.operations.submit import submit
from flowtx.dtm.outcomes import Done, DtmError, DtmFailure, Outcome
from flowtx.dtm.wire.queries import HastenRequest
from flowtx.testing.participants import Participants
from flowtx_engine.journal.memory import MemoryStore
from tests.flowtx.dtm.asking import (
    begun_tcc,
    called,
    looked,
    prepared,
    request,
    rows,
    status,
    transaction,
)

OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]


# -- what holds for all


@pytest.mark.parametrize("operation", [prepare, submit])
@pytest.mark.parametrize("trans_type", ["", "SAGA", "nonsense"])
async def test_an_unknown_type_is_refused(
    operation: Callable[..., object], trans_type: str, autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    async with open_desk() as desk:
        outcome = await answered(operation(desk, request(trans_type)))  # type: ignore[arg-type]  # it is an operation
        assert isinstance(outcome, DtmError)
        assert "expected one of saga, tcc, xa, msg, workflow" in outcome.message
        assert (await looked(desk)).transaction is None


async def test_what_is_stored_decides_whether_it_can_be_aborted(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        for trans_type in ("saga", "workflow"):
            await prepare(desk, request(trans_type, gid=trans_type))
            outcome = await abort(desk, request("tcc", gid=trans_type))
            assert outcome == DtmFailure(f"trans type: '{trans_type}' current status 'prepared', cannot abort. FAILURE")
            assert await status(desk, trans_type) == "prepared"
        assert await abort(desk, request("tcc")) == DtmError("no TransGlobal with gid: g found", kind="crash")


async def test_a_submission_of_another_type_is_refused(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await begun_tcc(desk)
        outcome = await submit(desk, request("xa"))
        assert outcome == DtmFailure("gid 'g' belongs to a transaction of type 'tcc', cannot submit. FAILURE")
        assert await status(desk) == "prepared"


async def test_a_prepared_saga_waits_for_its_submission_however_long(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        await prepare(desk, request("saga", "/a"))
        await trio.sleep(80_000)
        assert (await status(desk), called(participants)) == ("prepared", [])
        assert await submit(desk, request("saga", wait_result=True)) == Done()
        assert (called(participants), await rows(desk)) == (["a"], "P S")


@pytest.mark.parametrize("trans_type", ["saga", "msg", "tcc", "xa", "workflow"])
async def test_a_prepared_transaction_can_be_stopped_by_force(
    trans_type: str, autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        await prepare(desk, request(trans_type))
        assert await force_stop(desk, "g") == Done()
        found = await transaction(desk)
        assert (found.status, bool(found.rollback_time)) == ("failed", True)
        await trio.sleep(1000)
        assert called(participants) == []


async def test_the_result_is_waited_for_wherever_the_run_is_driven(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    store, first, second = MemoryStore(), Participants(delay_s=2.0), Participants(delay_s=2.0)
    async with open_desk(first, store=store) as one, open_desk(second, store=store) as other:
        await begun_tcc(one, "01", "02")
        await submit(one, request("tcc"))
        assert await submit(other, request("tcc", wait_result=True)) == Done()
        assert (len(first.asked), len(second.asked)) == (2, 0)


async def test_many_submissions_at_once_are_one(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.5)
    outcomes: list[Outcome] = []

    async def ask(desk: Desk) -> None:
        outcomes.append(await submit(desk, request("tcc", wait_result=True)))

    async with open_desk(participants) as desk:
        await begun_tcc(desk, "01")
        async with trio.open_nursery() as clients:
            for _ in range(10):
                clients.start_soon(ask, desk)
    assert outcomes == [Done()] * 10
    assert called(participants) == ["confirm01"]


# -- hastening


async def test_what_waits_for_its_next_attempt_is_called_now(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/a", ["break"])
    async with open_desk(participants) as desk:
        await submit(desk, request("saga", "/a", retry_interval=600))
        await trio.sleep(30)
        assert await reset_next_cron_time(desk, "g") == Done()
        await trio.sleep(1)
        assert await status(desk) == "succeed"
        assert await reset_next_cron_time(desk, "g") == Done()
        assert await reset_next_cron_time(desk, "h") == DtmError("no TransGlobal with gid: h found", kind="crash")


async def test_a_workflows_client_is_called_now(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        await prepared(desk, retry_interval=600)
        await trio.sleep(5)
        await reset_next_cron_time(desk, "g")
        await trio.sleep(1)
        assert called(participants) == ["query"]


async def test_those_that_wait_longest_are_hastened_up_to_a_number(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/a", [], then="ongoing")
    async with open_desk(participants) as desk:
        for number in range(10):
            await submit(desk, request("saga", "/a", gid=f"g{number}", retry_interval=110))
        await submit(desk, request("saga", "/a", gid="sooner", retry_interval=90))
        await trio.sleep(1)
        asked = HastenRequest(timeout_s=100, limit=9)
        assert await reset_cron_time(desk, asked) == Done({"has_remaining": True, "succeed_count": 9})
        await trio.sleep(1)
        assert len(participants.asked) == 20, "nine were asked again"
        nothing = HastenRequest(timeout_s=1000, limit=10)
        assert await reset_cron_time(desk, nothing) == Done({"has_remaining": False, "succeed_count": 0})
