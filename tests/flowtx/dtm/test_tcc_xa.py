"""tcc and xa over a real engine: who is called when, and what clients are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio
from trio.testing import MockClock

from flowtx.dtm.operations.abort import abort
from flowtx.dtm.operations.branches import register_branch
from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.operations.prepare import prepare
from flowtx.dtm.operations.submit import submit
from flowtx.dtm.outcomes import Done, DtmError, DtmFailure, DtmOngoing
from flowtx.testing.participants import Participants
from tests.flowtx.dtm.asking import (
    begun_tcc,
    called,
    request,
    rows,
    status,
    tcc_branch,
    transaction,
    xa_branch,
)

OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]


# -- tcc


async def test_a_submitted_tcc_confirms_from_the_last_branch_to_the_first(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        await begun_tcc(desk, "01", "02")
        assert await rows(desk) == "P P P P"
        assert await submit(desk, request("tcc", wait_result=True)) == Done()
        assert (called(participants), await rows(desk)) == (["confirm02", "confirm01"], "P S P S")
        asked = participants.asked[0]
        assert (asked.op, asked.branch_id, asked.body) == ("confirm", "02", b"{}")
        assert await abort(desk, request("tcc")) == DtmFailure(
            "trans type: 'tcc' current status 'succeed', cannot abort. FAILURE"
        )


async def test_an_aborted_tcc_cancels_every_branch_and_says_why(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/cancel01", ["ongoing"])
    async with open_desk(participants) as desk:
        await begun_tcc(desk, "01", "02")
        assert await abort(desk, request("tcc", rollback_reason="no FAILURE")) == Done()
        await trio.sleep(1)
        found = await transaction(desk)
        assert (found.status, found.rollback_reason, await rows(desk)) == ("aborting", "no FAILURE", "P P S P")
        assert await abort(desk, request("tcc")) == Done()
        await trio.sleep(1)
        assert (await status(desk), await rows(desk)) == ("failed", "S P S P")
        assert called(participants) == ["cancel02", "cancel01", "cancel01"]
        assert (await transaction(desk)).rollback_reason == "no FAILURE"
        assert await submit(desk, request("tcc")) == DtmFailure("current status 'failed', cannot sumbmit. FAILURE")


async def test_a_tcc_that_is_not_submitted_in_time_is_cancelled(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        await begun_tcc(desk, "01", timeout_to_fail=20)
        await trio.sleep(18)
        assert await status(desk) == "prepared"
        await trio.sleep(4)
        found = await transaction(desk)
        assert (found.status, found.rollback_reason) == ("failed", "Timeout after 20 seconds")
        assert called(participants) == ["cancel01"]
        assert await register_branch(desk, tcc_branch("02")) == DtmFailure(
            "no trans with gid: g status: prepared found FAILURE"
        )


async def test_a_confirmation_is_repeated_until_it_succeeds_whoever_submits_again(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/confirm02", ["break", "refuse", "ongoing"])
    async with open_desk(participants) as desk:
        await begun_tcc(desk, "01", "02")
        first = await submit(desk, request("tcc", wait_result=True))
        assert isinstance(first, DtmError)
        assert "unkown result will be retried" in first.message
        second = await submit(desk, request("tcc", wait_result=True))
        assert isinstance(second, DtmFailure)
        third = await submit(desk, request("tcc", wait_result=True))
        assert third == DtmOngoing("ONGOING")
        assert (await status(desk), await rows(desk)) == ("submitted", "P P P P")
        assert await submit(desk, request("tcc", wait_result=True)) == Done()
        assert called(participants) == ["confirm02"] * 4 + ["confirm01"]


async def test_a_repeated_submission_waits_for_the_attempt_that_it_brings_about(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.1)
    participants.script("/confirm01", ["break", "break"])
    async with open_desk(participants) as desk:
        await begun_tcc(desk, "01", retry_interval=1)
        first = await submit(desk, request("tcc", wait_result=True))
        second = await submit(desk, request("tcc", wait_result=True))
        assert (type(first), type(second)) == (DtmError, DtmError)
        assert len(participants.asked) == 2
        assert await submit(desk, request("tcc", wait_result=True)) == Done()


async def test_a_branch_is_registered_once(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await begun_tcc(desk, "01")
        outcome = await register_branch(desk, tcc_branch("01"))
        assert isinstance(outcome, DtmError)
        assert outcome.message.startswith("storage: UniqueKeyConflict")
        assert await register_branch(desk, tcc_branch("0101")) == Done()
        assert await rows(desk) == "P P P P"


async def test_branches_that_are_registered_at_once_are_all_kept(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        await begun_tcc(desk)
        async with trio.open_nursery() as clients:
            for number in range(1, 21):
                clients.start_soon(register_branch, desk, tcc_branch(f"{number:02d}"))
        assert await submit(desk, request("tcc", wait_result=True)) == Done()
        assert sorted(called(participants)) == [f"confirm{number:02d}" for number in range(1, 21)]


async def test_a_branch_of_another_type_or_of_nothing_is_refused(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    async with open_desk() as desk:
        assert await register_branch(desk, tcc_branch("01")) == DtmFailure(
            "no trans with gid: g status: prepared found FAILURE"
        )
        assert await register_branch(desk, tcc_branch("01", trans_type="saga")) == DtmError("unknow trans type: saga")
        await begun_tcc(desk)
        assert isinstance(await register_branch(desk, xa_branch("01")), DtmFailure)
        assert await rows(desk) == ""


async def test_empty_urls_are_confirmed_without_a_call(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        await begun_tcc(desk)
        await register_branch(desk, tcc_branch("01", confirm="", cancel=""))
        assert await submit(desk, request("tcc", wait_result=True)) == Done()
        assert (called(participants), await rows(desk)) == ([], "P S")


async def test_the_options_of_a_submission_count_and_are_kept(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/confirm01", ["break"])
    async with open_desk(participants) as desk:
        await begun_tcc(desk, "01", timeout_to_fail=50, branch_headers={"a": "1"})
        await submit(desk, request("tcc", retry_interval=3, wait_result=True))
        found = await transaction(desk)
        assert json.loads(found.options) == {
            "wait_result": True,
            "timeout_to_fail": 50,
            "retry_interval": 3,
            "branch_headers": {"a": "1"},
            "concurrent": False,
        }
        assert found.next_cron_interval == 6
        await trio.sleep(7)
        assert await status(desk) == "succeed"


# -- xa


async def test_an_xa_commits_or_rolls_back_in_the_order_of_registration(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    for ends, op in ((submit, "commit"), (abort, "rollback")):
        participants = Participants(delay_s=0.0)
        async with open_desk(participants) as desk:
            await prepare(desk, request("xa"))
            for branch_id in ("01", "02"):
                assert await register_branch(desk, xa_branch(branch_id)) == Done()
            assert await ends(desk, request("xa", rollback_reason="no")) == Done()
            await trio.sleep(1)
            assert [(asked.url[-2:], asked.op, asked.body) for asked in participants.asked] == [
                ("01", op, b""),
                ("02", op, b""),
            ]
            expected = {"commit": ("succeed", "P S P S"), "rollback": ("failed", "S P S P")}[op]
            assert (await status(desk), await rows(desk)) == expected


async def test_an_xa_without_branches_fails_when_time_is_up(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await prepare(desk, request("xa"))
        await trio.sleep(37)
        found = await transaction(desk)
        assert (found.status, found.rollback_reason) == ("failed", "Timeout after 35 seconds")
        assert isinstance(await submit(desk, request("xa")), DtmFailure)
