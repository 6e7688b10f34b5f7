"""The operations over a real engine, with participants by script and a clock that jumps."""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec
import pytest
import trio
from trio.testing import MockClock

from flowtx.dtm.operations.desk import Desk, answered
from flowtx.dtm.operations.look import query
from flowtx.dtm.operations.submit import submit
from flowtx.dtm.outcomes import Done, DtmError, DtmFailure, Outcome
from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.requests import TransactionRequest
from flowtx.dtm.wire.views import QueryView, TransactionView
from flowtx.settings import Settings
from flowtx.testing.participants import Behaviour, Participants
from flowtx_dsl.errors import EngineClosed, Overloaded, TransactionFailed
from flowtx_dsl.patterns.saga import saga
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import workflow
from flowtx_engine.calls.http_types import HttpRequest, HttpResponse
from flowtx_engine.calls.performer import Calls
from flowtx_engine.journal.errors import JournalUnavailable, UnstorableWrite
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.runtime.clock import TrioClock
from flowtx_engine.runtime.engine import Engine
from flowtx_engine.runtime.limits import EngineLimits

T = TypeVar("T")


@workflow
async def of_the_library(tx: Tx) -> None:
    """A transaction that did not come over the wire."""


async def run_inline(fn: Callable[[], T]) -> T:
    """A sync step without a thread; sagas have none."""
    raise AssertionError(fn)


@asynccontextmanager
async def open_desk(participants: Participants, limits: EngineLimits | None = None) -> AsyncGenerator[Desk]:
    engine = Engine(
        Journal(MemoryStore()),
        Calls(participants, grpc=participants, queues=participants, run_sync=run_inline),
        workflows=[saga],
        limits=limits,
        clock=TrioClock(),
        dice=random.Random(0),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.serve)
        yield Desk(engine=engine, settings=Settings())
        await engine.shut_down()
        nursery.cancel_scope.cancel()


def order(*paths: str, **changes: object) -> TransactionRequest:
    steps = tuple({"action": f"http://p{path}", "compensate": f"http://p{path}-undo"} for path in paths)
    request = TransactionRequest(
        gid="g", trans_type="saga", steps=steps, payloads=(b"{}",) * len(steps), wait_result=True
    )
    return msgspec.structs.replace(request, **changes)


async def queried(desk: Desk, gid: str = "g") -> QueryView:
    outcome = await query(desk, gid)
    assert isinstance(outcome, Done)
    assert isinstance(outcome.value, QueryView)
    return outcome.value


async def transaction(desk: Desk, gid: str = "g") -> TransactionView:
    view = (await queried(desk, gid)).transaction
    assert view is not None
    return view


async def rows(desk: Desk, gid: str = "g") -> str:
    return " ".join(view.status[0].upper() for view in (await queried(desk, gid)).branches)


async def asked_after(behaviours: Sequence[Behaviour], **changes: object) -> list[float]:
    """When the participant was asked, in seconds after the first time, until it accepted."""
    participants = Participants(delay_s=0.0)
    participants.script("/a", behaviours)
    async with open_desk(participants) as desk:
        await submit(desk, order("/a", **changes))
        with trio.fail_after(100_000):
            await desk.engine.wait("g")
    return [round(asked.at - participants.asked[0].at, 2) for asked in participants.asked]


async def test_pauses_after_errors_double_from_the_base(autojump_clock: MockClock) -> None:
    assert await asked_after(["break", "break", "break", "break"]) == [0, 20, 60, 140, 300]
    assert await asked_after(["break", "break"], retry_interval=150) == [0, 300, 900]


async def test_ongoing_waits_for_the_interval_in_force(autojump_clock: MockClock) -> None:
    assert await asked_after(["ongoing", "ongoing", "ongoing"]) == [0, 10, 20, 30]
    assert await asked_after(["break", "ongoing", "ongoing", "break"]) == [0, 20, 40, 60, 100]


async def test_pauses_stop_growing_at_an_hour(autojump_clock: MockClock) -> None:
    faults: list[Behaviour] = ["break"] * 12
    moments = await asked_after(faults)
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert pauses == [20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600, 3600]


async def test_a_saga_without_a_timeout_never_times_out(autojump_clock: MockClock) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/a", [], then="ongoing")
    async with open_desk(participants) as desk:
        await submit(desk, order("/a"))
        await trio.sleep(10_800)
        assert (await transaction(desk)).status == "submitted"
        assert await rows(desk) == "P P"


async def test_a_timeout_turns_a_saga_round_and_takes_back_what_was_asked(autojump_clock: MockClock) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/a", [], then="ongoing")
    async with open_desk(participants) as desk:
        await submit(desk, order("/a", "/b", timeout_to_fail=1800))
        with pytest.raises(TransactionFailed, match="Timeout after 1800 seconds"):
            await desk.engine.wait("g")
        found = await transaction(desk)
        assert (found.status, found.rollback_reason) == ("failed", "Timeout after 1800 seconds")
        assert await rows(desk) == "S P P P"


async def test_a_retry_limit_allows_one_call_more_than_it_says_and_all_at_once(autojump_clock: MockClock) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/a", ["break", "ongoing", "break"])
    async with open_desk(participants) as desk:
        assert await submit(desk, order("/a", "/b", retry_limit=3)) == Done()
        assert [asked.at for asked in participants.asked] == [participants.asked[0].at] * 5
        assert await rows(desk) == "P S P S"


async def test_beyond_its_retry_limit_a_saga_turns_round(autojump_clock: MockClock) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/b", [], then="break")
    async with open_desk(participants) as desk:
        outcome = await submit(desk, order("/a", "/b", retry_limit=1))
        assert outcome == DtmFailure("RetryCount is greater than RetryLimit, RetryLimit: 1 FAILURE", status="failed")
        assert await rows(desk) == "S S S P"
        assert (await transaction(desk)).status == "failed"


async def test_concurrent_steps_do_not_wait_for_one_that_is_ongoing(autojump_clock: MockClock) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/a", ["ongoing"])
    async with open_desk(participants) as desk:
        outcome = await submit(desk, order("/a", "/b", custom_data='{"concurrent":true}'))
        assert outcome == DtmFailure("wait result not return success: FAILURE", status="submitted")
        assert await rows(desk) == "P P P S"
        await desk.engine.wait("g")
        assert await rows(desk) == "P S P S"


async def test_a_step_is_taken_back_before_those_it_came_after(autojump_clock: MockClock) -> None:
    participants = Participants()
    participants.script("/c", ["refuse"])
    custom = '{"concurrent":true,"orders":{"1":[0],"2":[1]}}'
    async with open_desk(participants) as desk:
        outcome = await submit(desk, order("/a", "/b", "/c", "/d", custom_data=custom))
        assert outcome == DtmFailure("url:http://p/c return failed: not enough money FAILURE", status="failed")
        assert await rows(desk) == "S S S S S F S S"
    urls = [asked.url.removeprefix("http://p/") for asked in participants.asked]
    assert [url for url in urls if url not in ("d", "d-undo")] == ["a", "b", "c", "c-undo", "b-undo", "a-undo"]


async def test_an_action_on_its_way_is_awaited_before_it_is_taken_back(autojump_clock: MockClock) -> None:
    answered: list[str] = []

    class Slow(Participants):
        async def send(self, request: HttpRequest) -> HttpResponse:
            if "/a?" in request.url:
                await trio.sleep(2.0)
            response = await super().send(request)
            answered.append(request.url.partition("?")[0].removeprefix("http://p/"))
            return response

    participants = Slow(delay_s=0.1)
    participants.script("/b", ["refuse"])
    async with open_desk(participants) as desk:
        await submit(desk, order("/a", "/b", custom_data='{"concurrent":true}'))
        assert (await transaction(desk)).status == "failed"
    assert answered == ["b", "b-undo", "a", "a-undo"]


async def test_wait_result_is_answered_when_the_run_rests_and_not_later(autojump_clock: MockClock) -> None:
    participants = Participants(delay_s=0.5)
    participants.script("/a", ["break"])
    async with open_desk(participants) as desk:
        began = trio.current_time()
        outcome = await submit(desk, order("/a"))
        assert outcome == DtmFailure("wait result not return success: FAILURE", status="submitted")
        assert trio.current_time() - began == pytest.approx(0.5, abs=0.1)


async def test_wait_result_is_answered_at_the_latest_two_seconds_after_the_request_timeout(
    autojump_clock: MockClock,
) -> None:
    participants = Participants(delay_s=2.9)
    async with open_desk(participants) as desk:
        began = trio.current_time()
        outcome = await submit(desk, order("/a", "/b", "/c"))
        assert outcome == DtmFailure("wait result not return success: FAILURE", status="submitted")
        assert trio.current_time() - began == pytest.approx(5.0, abs=0.1)
        await desk.engine.wait("g")
        assert await rows(desk) == "P S P S P S"


async def test_a_hanging_participant_is_asked_again_after_the_timeout(autojump_clock: MockClock) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/a", ["hang"])
    async with open_desk(participants) as desk:
        await submit(desk, order("/a"))
        await desk.engine.wait("g")
    first, second = participants.asked
    assert second.at - first.at == pytest.approx(3 + 20, abs=0.1)


async def test_a_gid_of_the_library_is_not_taken_for_a_saga(autojump_clock: MockClock) -> None:
    async with open_desk(Participants()) as desk:
        await desk.engine.run(of_the_library, gid="g")
        outcome = await submit(desk, order("/a"))
        assert outcome == DtmFailure("gid 'g' belongs to a transaction of type 'workflow', cannot submit. FAILURE")
        assert (await transaction(desk)).trans_type == "workflow"
        assert await rows(desk) == ""


async def test_over_the_limit_a_saga_is_refused_and_not_stored(autojump_clock: MockClock) -> None:
    participants = Participants(delay_s=1.0)
    async with open_desk(participants, EngineLimits(active_max=1)) as desk:
        await submit(desk, order("/a", wait_result=False))
        outcome = await answered(submit(desk, order("/a", gid="h")))
        assert isinstance(outcome, DtmError)
        assert outcome.kind == "overloaded"
        assert "active_max" in outcome.message
        assert (await queried(desk, "h")).transaction is None


async def raising(error: Exception) -> Outcome:
    raise error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (RequestError("field gid: expected a string"), DtmError("field gid: expected a string", kind="crash")),
        (Overloaded("too much"), DtmError("too much", kind="overloaded")),
        (EngineClosed("going"), DtmError("going", kind="overloaded")),
    ],
)
async def test_what_the_sender_can_mend_is_said_in_its_terms(error: Exception, outcome: Outcome) -> None:
    assert await answered(raising(error)) == outcome


@pytest.mark.parametrize(
    "error",
    [
        JournalUnavailable("INSERT INTO transactions: disk I/O error"),
        UnstorableWrite("INSERT INTO transactions: too long"),
        RuntimeError("INSERT INTO transactions at 0x7f"),
    ],
)
async def test_what_only_an_operator_can_mend_is_said_in_general_words(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "flowtx.dtm"):
        outcome = await answered(raising(error))
    assert isinstance(outcome, DtmError)
    assert "transaction manager" in outcome.message
    assert "INSERT" not in outcome.message
    assert "INSERT" in caplog.text
