"""Two-phase messages over a real engine: who is called when, and what senders are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from trio.testing import MockClock

from flowtx.dtm.operations.abort import abort
from flowtx.dtm.operations.desk import Desk, answered
from flowtx.dtm.operations.prepare import prepare
from flowtx.dtm.operations.submit import submit
from flowtx.dtm.operations.topics import delete_topic, subscribe
from flowtx.dtm.outcomes import Done, DtmError, DtmFailure
from flowtx.testing.participants import Participants
from tests.flowtx.dtm.asking import (
    called,
    looked,
    request,
    rows,
    status,
    transaction,
)

OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]


async def test_a_message_is_delivered_to_each_subscriber_in_order(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.1)
    async with open_desk(participants) as desk:
        assert await submit(desk, request("msg", "/a", "/b")) == Done()
        assert (await status(desk), called(participants)) == ("submitted", [])
        await trio.sleep(1)
        assert (await status(desk), called(participants), await rows(desk)) == ("succeed", ["a", "b"], "S S")
        asked = participants.asked[0]
        assert (asked.branch_id, asked.op, asked.gid, asked.body) == ("01", "action", "g", b"{}")


async def test_a_message_without_steps_is_delivered_at_once(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        assert await submit(desk, request("msg", wait_result=True)) == Done()


async def test_a_concurrent_message_goes_to_all_at_once(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/a", ["break"])
    async with open_desk(participants) as desk:
        await submit(desk, request("msg", "/a", "/b", concurrent=True))
        await trio.sleep(1)
        assert (sorted(called(participants)), await rows(desk)) == (["a", "b"], "P S")
        await trio.sleep(30)
        assert await status(desk) == "succeed"


async def test_a_subscriber_cannot_refuse_a_message_and_holds_back_those_after_it(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/a", ["refuse"])
    async with open_desk(participants) as desk:
        outcome = await submit(desk, request("msg", "/a", "/b", wait_result=True))
        assert isinstance(outcome, DtmFailure)
        assert outcome.message.endswith("unkown result will be retried: not enough money FAILURE")
        assert (await status(desk), called(participants)) == ("submitted", ["a"])
        assert (await transaction(desk)).next_cron_interval == 20
        await trio.sleep(21)
        assert (await status(desk), called(participants)) == ("succeed", ["a", "a", "b"])


async def test_wait_result_tells_a_message_that_is_ongoing_from_one_in_error(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/ongoing", ["ongoing"])
    participants.script("/broken", ["break"])
    async with open_desk(participants) as desk:
        waiting = await submit(desk, request("msg", "/ongoing", gid="a", wait_result=True))
        assert waiting == DtmFailure("wait result not return success: FAILURE", status="submitted")
        broken = await submit(desk, request("msg", "/broken", gid="b", wait_result=True))
        assert isinstance(broken, DtmError)
        assert "unkown result will be retried: http://p/broken answered 500: out of order" in broken.message
        assert (await status(desk, "a"), await status(desk, "b")) == ("submitted", "submitted")


async def test_a_topic_is_expanded_when_the_message_is_stored(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        for url in ("http://p/one", "http://p/two"):
            await subscribe(desk, topic="t", url=url, remark="")
        await prepare(desk, request("msg", "topic://t", "/plain"))
        await delete_topic(desk, "t")
        await submit(desk, request("msg", "topic://t", "/plain"))
        await trio.sleep(1)
        branches = (await looked(desk)).branches
        assert [(view.branch_id, view.url) for view in branches] == [
            ("01-01", "http://p/one"),
            ("01-02", "http://p/two"),
            ("02", "http://p/plain"),
        ]
        assert called(participants) == ["one", "two", "plain"]


async def test_a_message_to_a_topic_that_reaches_nobody_is_not_stored(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    async with open_desk() as desk:
        for operation in (prepare, submit):
            outcome = await answered(operation(desk, request("msg", "topic://t")))
            assert outcome == DtmError("topic not found", kind="crash")
        assert (await looked(desk)).transaction is None


async def test_a_delayed_message_waits_after_its_submission(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        await prepare(desk, request("msg", "/a"))
        await submit(desk, request("msg", "/a", custom_data='{"delay":20}'))
        await trio.sleep(18)
        found = await transaction(desk)
        assert (found.status, found.next_cron_interval, called(participants)) == ("submitted", 10, [])
        assert json.loads(found.custom_data) == {"delay": 20}
        await trio.sleep(3)
        assert (await status(desk), called(participants)) == ("succeed", ["a"])


@pytest.mark.parametrize("custom_data", ["nonsense", '{"delay":-1}', '{"delay":1e30}', '{"delay":"x"}'])
async def test_a_delay_that_is_none_is_refused(
    custom_data: str, autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    async with open_desk() as desk:
        outcome = await answered(submit(desk, request("msg", "/a", custom_data=custom_data)))
        assert isinstance(outcome, DtmError)
        assert "custom_data" in outcome.message
        assert (await looked(desk)).transaction is None


async def test_a_prepared_message_is_asked_about_when_time_is_up(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/query", ["break", "ongoing"])
    async with open_desk(participants) as desk:
        assert await prepare(desk, request("msg", "/a")) == Done()
        assert await prepare(desk, request("msg", "/a")) == Done()
        await trio.sleep(34)
        assert (await status(desk), called(participants), await rows(desk)) == ("prepared", [], "P")
        await trio.sleep(3)
        assert (await status(desk), called(participants)) == ("prepared", ["query"])
        asked = participants.asked[0]
        assert (asked.branch_id, asked.op, asked.body) == ("00", "msg", b"")
        assert (await transaction(desk)).next_cron_interval == 20
        await trio.sleep(60)
        assert (await status(desk), called(participants)) == ("succeed", ["query", "query", "query", "a"])


async def test_a_prepared_message_that_its_sender_did_not_commit_is_dropped_without_a_reason(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/query", ["refuse"])
    async with open_desk(participants) as desk:
        await prepare(desk, request("msg", "/a", timeout_to_fail=120))
        await trio.sleep(60)
        assert called(participants) == []
        await trio.sleep(65)
        found = await transaction(desk)
        assert (found.status, found.rollback_reason, await rows(desk)) == ("failed", "", "P")
        assert found.rollback_time
        assert called(participants) == ["query"]


async def test_a_submission_overtakes_the_question(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/query", [], then="break")
    async with open_desk(participants) as desk:
        await prepare(desk, request("msg", "/a"))
        await trio.sleep(50)
        assert called(participants) == ["query"]
        assert await submit(desk, request("msg", "/a", wait_result=True)) == Done()
        assert called(participants) == ["query", "a"]


async def test_a_prepared_message_without_a_question_is_delivered_when_time_is_up(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        await prepare(desk, request("msg", "/a", query_prepared=""))
        await trio.sleep(40)
        assert (await status(desk), called(participants)) == ("succeed", ["a"])


async def test_an_aborted_message_is_failed_at_once_and_for_good(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        await prepare(desk, request("msg", "/a"))
        assert await abort(desk, request("tcc", rollback_reason="x")) == Done()
        found = await transaction(desk)
        assert (found.status, found.rollback_reason, await rows(desk)) == ("failed", "", "P")
        assert await abort(desk, request("msg")) == DtmFailure(
            "trans type: 'msg' current status 'failed', cannot abort. FAILURE"
        )
        assert await submit(desk, request("msg", "/a")) == DtmFailure(
            "current status 'failed', cannot sumbmit. FAILURE"
        )
        assert await prepare(desk, request("msg", "/a")) == DtmFailure(
            "current status 'failed', cannot prepare. FAILURE"
        )
        await trio.sleep(100)
        assert called(participants) == []
