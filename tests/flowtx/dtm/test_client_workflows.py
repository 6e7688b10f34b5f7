"""Workflows that run in their clients: progress, their end, and being called back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import msgspec
import pytest
import trio
from trio.testing import MockClock

from flowtx.dtm.operations.branches import register_branch
from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.operations.submit import submit
from flowtx.dtm.outcomes import Done, DtmError, DtmFailure
from flowtx.testing.participants import Participants
from tests.flowtx.dtm.asking import (
    called,
    ended,
    prepared,
    progress,
    status,
)

OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]


async def test_a_workflow_gives_its_progress_back_to_who_begins_it_again(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    async with open_desk() as desk:
        view = await prepared(desk)
        assert (view.progresses, view.transaction.status) == ([], "prepared")
        assert await register_branch(desk, progress("01", data=b"\x00one")) == Done()
        assert await register_branch(desk, progress("02", status="failed")) == Done()
        again = await prepared(desk)
        assert [(each.branch_id, each.op, each.status, each.bin_data) for each in again.progresses] == [
            ("01", "action", "succeed", b"\x00one"),
            ("02", "action", "failed", b"r"),
        ]
        twice = await register_branch(desk, progress("01"))
        assert isinstance(twice, DtmError)
        assert await register_branch(desk, progress("01", op="rollback")) == Done()


async def test_the_end_of_a_workflow_changes_its_end_and_nothing_else(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    async with open_desk() as desk:
        before = (await prepared(desk)).transaction
        await register_branch(desk, progress("01"))
        assert await submit(desk, ended(status="succeed", result="cmVz")) == Done()
        view = await prepared(desk)
        after = view.transaction
        assert (after.status, after.result, bool(after.finish_time)) == ("succeed", "cmVz", True)
        assert (after.create_time, after.custom_data, after.query_prepared) == (
            before.create_time,
            before.custom_data,
            before.query_prepared,
        )
        assert len(view.progresses) == 1
        assert await submit(desk, ended(status="succeed")) == DtmError("storage: NotFound", kind="crash")
        assert await register_branch(desk, progress("02")) == DtmFailure(
            "no trans with gid: g status: prepared found FAILURE"
        )


async def test_a_failed_workflow_keeps_its_reason(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await prepared(desk)
        assert await submit(desk, ended(status="failed", rollback_reason="no money")) == Done()
        found = (await prepared(desk)).transaction
        assert (found.status, found.rollback_reason, bool(found.rollback_time)) == ("failed", "no money", True)


@pytest.mark.parametrize("extra", [{}, {"status": ""}, {"status": "submitted"}])
async def test_an_end_that_is_none_is_refused(
    extra: dict[str, str], autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    async with open_desk() as desk:
        await prepared(desk)
        outcome = await submit(desk, ended(**extra))
        assert isinstance(outcome, DtmError)
        assert await status(desk) == "prepared"
        assert await submit(desk, msgspec.structs.replace(ended(status="failed"), gid="nobody")) == DtmError(
            "storage: NotFound", kind="crash"
        )


async def test_a_client_that_falls_quiet_is_called_back(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/query", ["ongoing", "break"])
    async with open_desk(participants) as desk:
        await prepared(desk)
        await trio.sleep(8)
        await register_branch(desk, progress("01"))
        await trio.sleep(8)
        assert called(participants) == [], "it was heard of less than ten seconds ago"
        await trio.sleep(4)
        asked = participants.asked[0]
        assert (asked.op, asked.branch_id, asked.body) == ("transfer", "00", b"input")
        await trio.sleep(150)
        pauses = [round(asked.at - participants.asked[0].at) for asked in participants.asked]
        assert pauses == [0, 10, 30, 50, 90], "after ongoing, after an error, then the pauses double"
        assert await status(desk) == "prepared"


async def test_a_client_that_is_heard_of_again_is_called_after_the_first_pause_again(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        await prepared(desk)
        await trio.sleep(80)
        count = len(participants.asked)
        await register_branch(desk, progress("01"))
        await trio.sleep(12)
        assert len(participants.asked) == count + 1


async def test_no_callback_goes_out_after_the_end(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=5.0)
    async with open_desk(participants) as desk:
        await prepared(desk)
        await trio.sleep(11)
        assert await submit(desk, ended(status="succeed")) == Done()
        assert await status(desk) == "succeed"
        await trio.sleep(200)
        assert len(participants.asked) <= 1
