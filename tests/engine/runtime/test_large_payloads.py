"""Large payloads: refused at the limit by size and name, with nothing stored; what a database cannot hold is told."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio
from sqlalchemy import Engine as SqlEngine
from sqlalchemy import event
from trio.testing import MockClock

import flowtx
from flowtx.testing.participants import Participants
from flowtx_engine.calls.http_types import AnswerTooLong, HttpFault, HttpRequest, HttpResponse
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.kernel.events import Attempted, Failed
from flowtx_engine.runtime.engine import Engine

OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]

MAX = 1000
LIMITS = flowtx.EngineLimits(payload_bytes_max=MAX)

calls: list[object] = []


@pytest.fixture(autouse=True)
def forget_calls() -> None:
    calls.clear()


async def fetch(size: int) -> str:
    calls.append(size)
    return "x" * size


async def put_back(size: int, *, result: str | flowtx.Unknown) -> None:
    calls.append(result)


@flowtx.workflow
async def carry(tx: flowtx.Tx, size: int) -> int:
    return len(await tx.step(fetch, size, compensate=put_back))


@flowtx.workflow
async def catch(tx: flowtx.Tx, size: int) -> str:
    try:
        await tx.step(fetch, size, compensate=put_back)
    except flowtx.PayloadError as error:
        return error.message
    return "it fitted"


@flowtx.workflow
async def ask(tx: flowtx.Tx) -> object:
    return await tx.step(flowtx.http("http://service/large"), retry=flowtx.Retry(jitter=0.0))


async def test_a_result_at_the_limit_is_kept_and_one_byte_more_is_not(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine(limits=LIMITS) as engine:
        assert await engine.run(catch, MAX - 2) == "it fitted", "two bytes are the quotes of the JSON"
        told = await engine.run(catch, MAX - 1)
    assert told == f"the result of fetch has {MAX + 1} bytes, at most {MAX} are taken (payload_bytes_max)"
    assert calls == [MAX - 2, MAX - 1], "the step is not made again: its result would be as long"


async def test_a_result_that_is_too_long_turns_the_run_round_and_is_stored_nowhere(
    autojump_clock: MockClock, open_engine: OpenEngine, store: MemoryStore
) -> None:
    async with open_engine(limits=LIMITS) as engine:
        with pytest.raises(flowtx.TransactionFailed, match="payload_bytes_max"):
            await engine.run(carry, 5_000_000, gid="g")
        failed = (await engine.history("g"))[1].fact
    assert isinstance(failed, Failed)
    assert calls == [5_000_000, flowtx.UNKNOWN]
    assert sum(len(row.data) for row in store.history("g")) < 10_000


async def test_the_limit_can_be_raised_for_a_run_that_is_under_way(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    async with open_engine(limits=flowtx.EngineLimits(payload_bytes_max=10_000_000)) as engine:
        assert await engine.run(carry, 5_000_000) == 5_000_000


class TooLong:
    """A network that brings answers whose bodies are longer than a transport takes."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.count = 0

    async def send(self, request: HttpRequest) -> HttpResponse:
        await trio.lowlevel.checkpoint()
        self.count += 1
        if self.count > 2:
            return HttpResponse(status=200, headers=(), body=b'"small"')
        fault = AnswerTooLong(f"the body of the answer is longer than {MAX} bytes: it has 5000")
        fault.status = self.status
        raise HttpFault("POST http://service/large: receive from service:80") from fault


@pytest.fixture
def participants(request: pytest.FixtureRequest) -> object:
    return TooLong(request.param) if hasattr(request, "param") else Participants()


@pytest.mark.parametrize("participants", [200], indirect=True)
async def test_an_answer_that_is_too_long_gives_the_step_up(
    autojump_clock: MockClock, open_engine: OpenEngine, participants: TooLong
) -> None:
    async with open_engine(limits=LIMITS) as engine:
        with pytest.raises(flowtx.TransactionFailed, match="payload_bytes_max") as failed:
            await engine.run(ask)
    assert isinstance(failed.value.__cause__, flowtx.PayloadError)
    assert participants.count == 1


@pytest.mark.parametrize("participants", [500], indirect=True)
async def test_an_error_page_that_is_too_long_is_a_fault_like_any_other(
    autojump_clock: MockClock, open_engine: OpenEngine, participants: TooLong
) -> None:
    async with open_engine(limits=LIMITS) as engine:
        assert await engine.run(ask, gid="g") == "small"
        assert [type(one.fact) for one in await engine.history("g")][1:3] == [Attempted, Attempted]


async def test_a_value_that_the_database_cannot_hold_leaves_the_run_waiting_and_says_so(tmp_path: Path) -> None:
    def shrink(connection: sqlite3.Connection, _: object) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)  # the real limit is a billion

    event.listen(SqlEngine, "connect", shrink)
    try:
        async with flowtx.open(f"sqlite:///{tmp_path / 'flowtx.db'}") as engine:
            with trio.fail_after(20), pytest.raises(flowtx.JournalError) as told:
                await engine.run(carry, 200_000, gid="g")
            assert "write of 'g' at seq 1, 200" in str(told.value)
            assert "bytes of payload" in str(told.value)
            assert "string or blob too big" in str(told.value)
            row = await engine.transaction("g")
            assert row is not None
            assert (row.status, "string or blob too big" in row.last_error) == ("submitted", True)
    finally:
        event.remove(SqlEngine, "connect", shrink)
    async with flowtx.open(f"sqlite:///{tmp_path / 'flowtx.db'}", workflows=[carry]) as engine:
        assert await engine.wait("g") == 200_000
