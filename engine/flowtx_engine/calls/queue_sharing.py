"""What is opened once and used by many at once, on asyncio: connections to brokers, and channels in them.

Law: there are never more than the limit; when all are in use, others wait their turn, and the one unused for longest
goes first. One that was lost is forgotten at once, so that whoever comes next opens another.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar


class Lossy(Protocol):
    """What may be lost, and can be closed."""

    @property
    def is_lost(self) -> bool:
        """True when it is of no use any more."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...


R = TypeVar("R", bound=Lossy)


class _Kept(Generic[R]):
    """One that is being opened or is open, and how many use it."""

    __slots__ = ("opening", "users_count")

    def __init__(self, opening: asyncio.Task[R]) -> None:
        self.opening = opening
        self.users_count = 0

    @property
    def is_usable(self) -> bool:
        """False when it could not be opened, or was lost since."""
        if not self.opening.done():
            return True
        return not self.opening.cancelled() and self.opening.exception() is None and not self.opening.result().is_lost


class Shared(Generic[R]):
    """At most ``count_max`` of a kind, each known by a key; closing one may take ``close_s`` seconds."""

    def __init__(self, *, count_max: int, close_s: float) -> None:
        self._count_max = count_max
        self._close_s = close_s
        self._kept: OrderedDict[Hashable, _Kept[R]] = OrderedDict()  # oldest use first
        self._closing: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()

    @asynccontextmanager
    async def use(self, key: Hashable, open_one: Callable[[], Coroutine[Any, Any, R]]) -> AsyncGenerator[R]:
        """The one with this key, opened if it is not there; raises what opening it raises, to all who wait for it."""
        kept = await self._take(key, open_one)
        try:
            yield await asyncio.shield(kept.opening)  # shielded: others may wait for it
        finally:
            kept.users_count -= 1
            if not kept.is_usable:
                self._forget(key, kept)
            if not kept.users_count:
                self._room.set()

    async def close(self) -> None:
        """Close all."""
        for key, kept in list(self._kept.items()):
            self._forget(key, kept)
        if self._closing:
            await asyncio.wait(self._closing)

    async def _take(self, key: Hashable, open_one: Callable[[], Coroutine[Any, Any, R]]) -> _Kept[R]:
        while True:
            kept = self._kept.get(key)
            if kept is not None and not kept.is_usable:
                self._forget(key, kept)
                kept = None
            if kept is not None or self._has_room():
                break
            self._room.clear()
            await self._room.wait()
        if kept is None:
            kept = self._kept[key] = _Kept(asyncio.create_task(open_one()))
        self._kept.move_to_end(key)
        kept.users_count += 1
        return kept

    def _has_room(self) -> bool:
        """True when one more may be opened, after the one unused for longest was closed, if need be."""
        if len(self._kept) < self._count_max:
            return True
        unused = next(((key, kept) for key, kept in self._kept.items() if not kept.users_count), None)
        if unused is None:
            return False
        self._forget(*unused)
        return True

    def _forget(self, key: Hashable, kept: _Kept[R]) -> None:
        """Close one, whoever may still use it."""
        if self._kept.get(key) is not kept:
            return  # somebody else was first
        del self._kept[key]
        closing = asyncio.create_task(self._close(kept.opening))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._room.set()

    async def _close(self, opening: asyncio.Task[R]) -> None:
        """Close what was opened; what its end is like matters to nobody any more."""
        opening.cancel()
        (ended,) = await asyncio.gather(opening, return_exceptions=True)
        if not isinstance(ended, BaseException):
            await asyncio.gather(asyncio.wait_for(ended.close(), self._close_s), return_exceptions=True)
