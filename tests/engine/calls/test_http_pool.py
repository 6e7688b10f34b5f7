"""Which connection is taken, and when one is closed; that none is lost is a property."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flowtx_engine.calls.http_pool import Pool, PoolLimits, Pools, PoolStatistics


class FakeConnection:
    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


def new_pools(*, slots_max: int = 2, idle_max: int = 2, idle_s: float = 30) -> Pools[str, FakeConnection]:
    return Pools(PoolLimits(slots_max=slots_max, idle_max=idle_max, idle_s=idle_s))


async def test_the_newest_idle_connection_is_taken_first() -> None:
    pools = new_pools()
    pool = pools.pool("bob")
    assert pool.acquire_nowait() is None
    assert pool.acquire_nowait() is None
    old, new = FakeConnection(), FakeConnection()
    pools.release("bob", old)
    pools.release("bob", new)
    assert pool.acquire_nowait() is new
    assert pool.acquire_nowait() is old


async def test_a_dead_connection_is_swapped_for_another_idle_one_and_then_for_none() -> None:
    pools = new_pools()
    pool = pools.pool("bob")
    old, new = FakeConnection(), FakeConnection()
    for connection in (old, new):
        pool.acquire_nowait()
        assert not connection.is_closed
    pools.release("bob", old)
    pools.release("bob", new)
    assert pool.acquire_nowait() is new
    assert pool.swap() is old
    assert pool.statistics() == PoolStatistics(slots_count=1, idle_count=0, waiting_count=0)
    assert pool.swap() is None
    assert pool.statistics() == PoolStatistics(slots_count=1, idle_count=0, waiting_count=0)


async def test_who_waits_is_handed_the_connection_itself_before_anyone_who_comes_later(nursery: trio.Nursery) -> None:
    pool: Pool[FakeConnection] = Pool(PoolLimits(slots_max=1, idle_max=1, idle_s=30))
    got: list[FakeConnection | None] = []

    async def wait() -> None:
        got.append(await pool.wait_acquire())

    assert pool.acquire_nowait() is None
    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    connection = FakeConnection()
    pool.release(connection)
    with pytest.raises(trio.WouldBlock):
        pool.acquire_nowait()
    await wait_all_tasks_blocked()
    assert got == [connection]


async def test_more_idle_connections_than_allowed_are_closed() -> None:
    pools = new_pools(idle_max=1)
    kept, surplus = FakeConnection(), FakeConnection()
    pools.pool("bob").acquire_nowait()
    pools.pool("bob").acquire_nowait()
    pools.release("bob", kept)
    pools.release("bob", surplus)
    assert (kept.is_closed, surplus.is_closed) == (False, True)
    assert pools.statistics() == {"bob": PoolStatistics(slots_count=1, idle_count=1, waiting_count=0)}


async def test_an_idle_connection_that_is_too_old_is_not_taken(mock_clock: MockClock) -> None:
    pools = new_pools(idle_s=30)
    old = FakeConnection()
    pools.pool("bob").acquire_nowait()
    pools.release("bob", old)
    mock_clock.jump(31)
    assert pools.pool("bob").acquire_nowait() is None
    assert old.is_closed


async def test_a_pool_that_holds_nothing_is_forgotten() -> None:
    pools = new_pools()
    pools.pool("bob").acquire_nowait()
    pools.release("bob", None)
    assert pools.statistics() == {}


async def test_what_is_released_after_the_end_is_closed() -> None:
    pools = new_pools()
    idle, used = FakeConnection(), FakeConnection()
    pools.pool("bob").acquire_nowait()
    pools.pool("bob").acquire_nowait()
    pools.release("bob", idle)
    pools.close()
    assert (idle.is_closed, used.is_closed) == (True, False)
    pools.release("bob", used)
    assert used.is_closed
    assert pools.statistics() == {}
