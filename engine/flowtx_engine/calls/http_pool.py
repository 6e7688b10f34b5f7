"""Who may have a connection, and which one: the pools, one for each place that is connected to.

Law: a connection is in exactly one of two places, idle in its pool or in the hands of one call. A call holds a *slot*
from the moment it acquires until it releases, with or without a connection in it. There are never more slots than the
limit, and none is lost when a call is cancelled. Calls that wait are served in the order in which they came.

The newest idle connection is taken first: it is the least likely to have been closed by the other side, and the oldest
can grow old behind it and be closed.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import trio


class Closable(Protocol):
    """What can be pooled."""

    def close(self) -> None:
        """Close at once; closing twice is harmless."""
        ...


KeyT = TypeVar("KeyT", bound=Hashable)
ConnectionT = TypeVar("ConnectionT", bound=Closable)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatistics:
    """What is held at one moment: slots (idle connections have one each), idle connections, and calls that wait."""

    slots_count: int = 0
    idle_count: int = 0
    waiting_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """What one pool may hold: slots, idle connections, and for how many seconds those stay open unused."""

    slots_max: int
    idle_max: int
    idle_s: float


class _Waiter(Generic[ConnectionT]):
    """A call that waits for a slot; `connection` is what it is handed."""

    __slots__ = ("connection", "task")

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task = task
        self.connection: ConnectionT | None = None


@dataclass(frozen=True, slots=True)
class _Idle(Generic[ConnectionT]):
    connection: ConnectionT
    since_at: float


class Pool(Generic[ConnectionT]):
    """The connections to one place."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._slots_count = 0
        self._idle: deque[_Idle[ConnectionT]] = deque()  # the newest on the right
        self._waiters: OrderedDict[_Waiter[ConnectionT], None] = OrderedDict()

    def __repr__(self) -> str:
        """Return the counts, for the reader of a failing test."""
        counts = f"{self._slots_count} of {self._limits.slots_max} slots, {len(self._idle)} idle"
        return f"<Pool {counts}, {len(self._waiters)} waiting>"

    @property
    def is_empty(self) -> bool:
        """Whether it holds nothing, so that it may be forgotten."""
        return not self._slots_count

    def statistics(self) -> PoolStatistics:
        """Return the counts of this moment."""
        return PoolStatistics(
            slots_count=self._slots_count, idle_count=len(self._idle), waiting_count=len(self._waiters)
        )

    def acquire_nowait(self) -> ConnectionT | None:
        """Take a slot, with the newest idle connection in it where there is one.

        Raises `trio.WouldBlock` when all slots are taken; then `wait_acquire` is to be called.
        """
        self.expire()
        if self._idle:
            return self._idle.pop().connection
        if self._slots_count >= self._limits.slots_max:
            raise trio.WouldBlock
        self._slots_count += 1
        return None

    async def wait_acquire(self) -> ConnectionT | None:
        """Wait in line for a slot, and take it with the connection that is in it, if there is one."""
        waiter: _Waiter[ConnectionT] = _Waiter(trio.lowlevel.current_task())
        self._waiters[waiter] = None

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._waiters[waiter]
            return trio.lowlevel.Abort.SUCCEEDED

        # Once `release` has rescheduled this task it can no longer be cancelled here, so a slot that was handed over
        # is not lost on the way. (An Event and a list would have that gap.)
        await trio.lowlevel.wait_task_rescheduled(abort)
        return waiter.connection

    def swap(self) -> ConnectionT | None:
        """Take another idle connection into a slot whose own was found dead, or None where there is no other.

        The slot of that other connection is given up, so the call still holds one.
        """
        if not self._idle:
            return None
        self._slots_count -= 1
        return self._idle.pop().connection

    def release(self, connection: ConnectionT | None) -> None:
        """Give up a slot, with the connection that can be used again, or None when it was closed."""
        assert self._slots_count > len(self._idle), self
        if self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            waiter.connection = connection
            trio.lowlevel.reschedule(waiter.task)
        elif connection is not None and len(self._idle) < self._limits.idle_max:
            self._idle.append(_Idle(connection, trio.current_time()))
        else:
            self._slots_count -= 1
            if connection is not None:
                connection.close()

    def expire(self) -> None:
        """Close the connections that have been idle for too long."""
        if self._idle and self._idle[0].since_at < (limit_at := trio.current_time() - self._limits.idle_s):
            while self._idle and self._idle[0].since_at < limit_at:
                self._close_oldest()

    def close_idle(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._close_oldest()

    def _close_oldest(self) -> None:
        self._slots_count -= 1
        self._idle.popleft().connection.close()


class Pools(Generic[KeyT, ConnectionT]):
    """The pools by place. A pool exists only as long as it holds something.

    Idle connections are closed when something is released after their time, at most half of it late; no task of their
    own watches them. When nothing is called any more they stay until `close`; the other side has hung up by then.
    """

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._pools: dict[KeyT, Pool[ConnectionT]] = {}
        self._expire_at = -float("inf")
        self.is_closed = False

    def __repr__(self) -> str:
        """Return the pools, for the reader of a failing test."""
        return f"<Pools {self._pools}>"

    def pool(self, key: KeyT) -> Pool[ConnectionT]:
        """Return the pool of one place. A slot is to be acquired before anything else happens."""
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(self._limits)
        return pool

    def release(self, key: KeyT, connection: ConnectionT | None) -> None:
        """Give up a slot of one place, with the connection that can be used again, or None when it was closed."""
        pool = self._pools[key]
        if self.is_closed and connection is not None:
            connection.close()
            connection = None
        pool.release(connection)
        if pool.is_empty:
            del self._pools[key]
        if trio.current_time() >= self._expire_at:
            self._expire_all()

    def statistics(self) -> dict[KeyT, PoolStatistics]:
        """Return the counts of this moment, by place."""
        return {key: pool.statistics() for key, pool in self._pools.items()}

    def close(self) -> None:
        """Close the idle connections now and the others as they are released."""
        self.is_closed = True
        for key, pool in list(self._pools.items()):
            pool.close_idle()
            if pool.is_empty:
                del self._pools[key]

    def _expire_all(self) -> None:
        self._expire_at = trio.current_time() + self._limits.idle_s / 2
        for key, pool in list(self._pools.items()):
            pool.expire()
            if pool.is_empty:
                del self._pools[key]
