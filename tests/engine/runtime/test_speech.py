"""What runs log: with their gid, once, and silent while they are replayed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from trio.testing import MockClock

import flowtx
from flowtx_engine.runtime.engine import Engine
from flowtx_engine.runtime.limits import EngineLimits
from flowtx_engine.runtime.speech import watch_records

OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]

log = logging.getLogger("bank")


@pytest.fixture(autouse=True)
def watched(caplog: pytest.LogCaptureFixture) -> None:
    watch_records()
    caplog.set_level(logging.DEBUG, "bank")


def pay() -> None:
    log.info("paying")


@flowtx.workflow
async def talkative(tx: flowtx.Tx) -> None:
    log.info("began")
    await tx.step(pay)
    log.info("paid")
    await tx.sleep(3600)
    log.info("slept")
    await tx.signal("go")
    log.info("went")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "bank"]


async def test_every_line_is_logged_once_however_often_its_run_is_replayed(
    autojump_clock: MockClock, open_engine: OpenEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_engine([talkative], limits=EngineLimits(park_after_s=1)) as engine:
        await engine.start(talkative, gid="g")
        await engine.rest("g", timeout_s=1)
    assert said(caplog) == ["began", "paying", "paid"]
    async with open_engine([talkative], limits=EngineLimits(park_after_s=1)) as engine:
        await engine.signal("g", "go")  # it comes before the run waits for it, and to a run that is parked
        await engine.wait("g")
    assert said(caplog) == ["began", "paying", "paid", "slept", "went"]


async def test_lines_of_runs_and_of_steps_say_whose_they_are(
    autojump_clock: MockClock, open_engine: OpenEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_engine([talkative]) as engine:
        await engine.start(talkative, gid="g")
        await engine.rest("g", timeout_s=1)
    log.info("outside")
    began, paying, _, outside = (record for record in caplog.records if record.name == "bank")
    assert began.__dict__["flowtx_gid"] == paying.__dict__["flowtx_gid"] == "g"
    assert (paying.__dict__["flowtx_address"], paying.__dict__["flowtx_attempt"]) == ("0", 1)
    assert "flowtx_address" not in began.__dict__
    assert "flowtx_gid" not in outside.__dict__


@flowtx.workflow
async def attached(tx: flowtx.Tx) -> None:
    log.info("began")
    try:
        await tx.sleep(3600)
    except flowtx.Cancelled:
        log.info("turned round")
        raise


async def test_what_was_told_to_a_run_while_nobody_drove_it_is_new_to_it_and_heard(
    autojump_clock: MockClock, open_engine: OpenEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_engine([attached], limits=EngineLimits(park_after_s=1)) as engine:
        await engine.start(attached, gid="g")
        await engine.rest("g", timeout_s=1)
        await engine.cancel("g")
        with pytest.raises(flowtx.TransactionFailed):
            await engine.wait("g")
    assert said(caplog) == ["began", "turned round"]


def test_extra_fields_of_callers_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    log.info("mine", extra={"gid": "theirs", "address": "x"})
    assert caplog.records[-1].__dict__["gid"] == "theirs"
