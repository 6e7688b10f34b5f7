"""The barrier on asyncio: the same rules through SQLAlchemy's AsyncConnection and AsyncSession."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine

from flowtx.client.barrier import Ran, Skipped, Why
from flowtx.client.barrier_upkeep import create_table_async, purge_async
from flowtx.client.errors import BarrierError, Duplicated
from flowtx_dsl.errors import Refused
from tests.flowtx.client.conftest import Bank

AnyAsync = AsyncConnection | AsyncSession
AsyncWay = Literal["connection", "session"]
ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}


@asynccontextmanager
async def opened(bank: Bank, way: AsyncWay) -> AsyncGenerator[AnyAsync]:
    engine = create_async_engine(bank.engine.url.set(drivername=ASYNC_DRIVERS[bank.dialect]), poolclass=NullPool)
    try:
        if way == "connection":
            async with engine.connect() as connection:
                yield connection
        else:
            async with AsyncSession(engine) as session:
                yield session
    finally:
        await engine.dispose()


async def note(bank: Bank, what: str, connection: AnyAsync) -> str:
    await connection.execute(text(f"insert into {bank.ledger} (note) values (:note)"), {"note": what})
    return what


def on_asyncio(test: Callable[[Bank, AsyncWay], Awaitable[None]]) -> Callable[[Bank, AsyncWay], None]:
    """The test, under asyncio; without this it would run under trio."""

    def run(async_bank: Bank, async_way: AsyncWay) -> None:
        async def main() -> None:
            await test(async_bank, async_way)

        asyncio.run(main())

    run.__name__, run.__doc__ = getattr(test, "__name__", "test"), test.__doc__
    return run


@pytest.fixture(params=["connection", "session"])
def async_way(request: pytest.FixtureRequest) -> AsyncWay:
    return "connection" if request.param == "connection" else "session"


@on_asyncio
async def test_an_op_runs_once_and_is_taken_back_once(bank: Bank, async_way: AsyncWay) -> None:
    async with opened(bank, async_way) as connection:
        for op in ("action", "action", "compensate", "compensate"):
            await bank.barrier(op).call_async(connection, functools.partial(note, bank, op))
    assert bank.notes() == ["action", "compensate"]


@on_asyncio
async def test_what_was_never_done_is_not_taken_back(bank: Bank, async_way: AsyncWay) -> None:
    async with opened(bank, async_way) as connection:
        write = functools.partial(note, bank, "any")
        assert await bank.barrier("cancel").call_async(connection, write) == Skipped(Why.NOTHING_TO_TAKE_BACK)
        assert await bank.barrier("try").call_async(connection, write) == Skipped(Why.REPEATED_OR_LATE)
    assert bank.notes() == []


@on_asyncio
async def test_failing_business_leaves_no_row(bank: Bank, async_way: AsyncWay) -> None:
    async def business(connection: AnyAsync) -> None:
        await note(bank, "half", connection)
        raise ValueError("broken")

    async with opened(bank, async_way) as connection:
        with pytest.raises(ValueError, match="broken"):
            await bank.barrier("action").call_async(connection, business)
        assert bank.rows() == []
        assert await bank.barrier("action").call_async(connection, functools.partial(note, bank, "whole"))
    assert bank.notes() == ["whole"]


@on_asyncio
async def test_cancelled_business_leaves_no_row(bank: Bank, async_way: AsyncWay) -> None:
    inside = asyncio.Event()

    async def business(connection: AnyAsync) -> None:
        await note(bank, "half", connection)
        inside.set()
        await asyncio.Event().wait()

    async with opened(bank, async_way) as connection:
        task = asyncio.create_task(bank.barrier("action").call_async(connection, business))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bank.rows() == []
    assert bank.notes() == []


@on_asyncio
async def test_a_message_is_done_or_given_up(bank: Bank, async_way: AsyncWay) -> None:
    async with opened(bank, async_way) as connection:
        barrier = bank.barrier("msg", branch_id="00", trans_type="msg")
        with pytest.raises(Refused):
            await barrier.query_prepared_async(connection)
        with pytest.raises(Duplicated):
            await barrier.call_async(connection, functools.partial(note, bank, "late"))
        done = bank.barrier("action", trans_type="msg")
        assert await done.call_async(connection, functools.partial(note, bank, "other")) == Ran("other")
    assert bank.notes() == ["other"]


@on_asyncio
async def test_business_that_ends_the_transaction_is_found_out(bank: Bank, async_way: AsyncWay) -> None:
    async def business(connection: AnyAsync) -> None:
        await connection.commit()
        await note(bank, "in another transaction", connection)

    async with opened(bank, async_way) as connection:
        with pytest.raises(BarrierError, match="ended inside the barrier"):
            await bank.barrier("action").call_async(connection, business)
    assert bank.notes() == []


@on_asyncio
async def test_the_table_is_made_and_purged(bank: Bank, async_way: AsyncWay) -> None:
    async with opened(bank, async_way) as connection:
        if isinstance(connection, AsyncSession):
            connection = await connection.connection()
            await connection.rollback()
        await create_table_async(connection)
        # No row is so old, on a server that other tests have used as well.
        assert await purge_async(connection, older_than_s=10 * 365 * 24 * 3600) == 0
