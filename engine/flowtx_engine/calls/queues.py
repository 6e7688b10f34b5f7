"""The brokers that messages go to: connections that are kept, used by many at once, and opened anew when they are lost.

Law: a connection belongs to one address but for the place in it, there are never more than the limit, and the one
unused for longest goes first. One that was lost is forgotten at once, so that the next message finds a broker that is
back. Whatever a library raises becomes a ``QueueFault`` here, with no cause: its texts may hold a whole URL.

The libraries know asyncio only, so all of this but ``publish`` runs on its loop, in one thread.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import quote

from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.queues import QueueAddress, check_library, without_secrets
from flowtx_engine.calls.asyncio_thread import AsyncioThread
from flowtx_engine.calls.queue_types import QueueFault, QueueMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """The limits of ``Queues``. Lengths of time are in seconds.

    ``connections_max`` counts the addresses with a connection; when all are in use, messages to another wait their
    turn. ``connect_s`` is how long a connection may take to be made, ``close_s`` to be closed. A connection over which
    nothing came for about ``silence_s`` seconds is taken for lost.
    """

    connections_max: int = 100
    connect_s: float = 10.0
    close_s: float = 2.0
    silence_s: float = 10.0


class Connection(Protocol):
    """A connection to a broker, used by many messages at once."""

    @property
    def is_lost(self) -> bool:
        """True when no message can be sent over it any more."""
        ...

    async def publish(self, message: QueueMessage) -> None:
        """Return when the broker has the message; raises ``QueueFault`` with words of its own, or anything."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...


Open = Callable[[QueueAddress, QueueLimits], Awaitable[Connection]]


def _redis() -> Open:
    from flowtx_engine.calls.queue_redis import open_redis  # noqa: PLC0415 - optional, and loaded by the first message

    return open_redis


OPENERS: Mapping[str, Callable[[], Open]] = {"redis": _redis}
"""What loads a broker's library, and gives what opens a connection, by the kind of broker."""


class Queues:
    """A ``QueueTransport`` to real brokers: ``async with Queues() as queues``."""

    def __init__(self, limits: QueueLimits | None = None) -> None:
        self._thread = AsyncioThread("flowtx queues")
        self._connections = _Connections(limits or QueueLimits())
        self._is_closed = False

    async def publish(self, message: QueueMessage) -> None:
        """See ``QueueTransport.publish``."""
        if self._is_closed:
            raise QueueFault(f"{message.address.shown} was sent nothing, because the engine is shutting down")
        try:
            check_library(message.address.broker)
        except WorkflowError as error:
            raise QueueFault(f"{message.address.shown} was sent nothing: {error}") from None
        try:
            fault = await self._thread.run(lambda: self._connections.publish(message))
        except CancelledError:  # by the end of the thread
            fault = f"{message.address.shown} did not confirm the message before the engine was shut down"
        if fault:
            raise QueueFault(fault)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        if self._thread.is_running:
            try:
                await self._thread.run(self._connections.close)
            finally:
                await self._thread.aclose()


@dataclass(slots=True, eq=False)
class _Kept:
    """A connection that is being opened or is open, and how many messages are on their way over it."""

    opening: asyncio.Task[Connection]
    messages_count: int = 0

    @property
    def is_usable(self) -> bool:
        """False when it could not be opened, or was lost since."""
        if not self.opening.done():
            return True
        return not self.opening.cancelled() and self.opening.exception() is None and not self.opening.result().is_lost


@dataclass(slots=True)
class _Connections:
    """The connections, on asyncio's side."""

    limits: QueueLimits
    _kept: OrderedDict[tuple[object, ...], _Kept] = field(default_factory=OrderedDict[tuple[object, ...], _Kept])
    _closing: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, message: QueueMessage) -> str:
        """Send a message; why nobody knows whether it arrived, or nothing when it has.

        A text and no exception, because an exception would bring the library's along.
        """
        address = message.address
        kept = await self._take(address)
        try:
            # Shielded: others may wait for the same connection.
            connection = await asyncio.shield(kept.opening)
        except Exception as error:
            return _words(f"{address.shown} cannot be reached, expected {address.broker} there", error, address)
        else:
            return await _publish(connection, message)
        finally:
            kept.messages_count -= 1
            if not kept.is_usable:
                self._forget(address.connection, kept)
            if not kept.messages_count:
                self._room.set()

    async def close(self) -> None:
        """Close all connections."""
        for key, kept in list(self._kept.items()):
            self._forget(key, kept)
        if self._closing:
            await asyncio.wait(self._closing)

    async def _take(self, address: QueueAddress) -> _Kept:
        key = address.connection
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
            kept = self._kept[key] = _Kept(asyncio.create_task(_opened(address, self.limits)))
        self._kept.move_to_end(key)
        kept.messages_count += 1
        return kept

    def _has_room(self) -> bool:
        """True when one more connection may be opened, after the one unused for longest was closed, if need be."""
        if len(self._kept) < self.limits.connections_max:
            return True
        unused = next(((key, kept) for key, kept in self._kept.items() if not kept.messages_count), None)
        if unused is None:
            return False
        self._forget(*unused)
        return True

    def _forget(self, key: tuple[object, ...], kept: _Kept) -> None:
        """Close a connection, whoever may still use it."""
        if self._kept.get(key) is not kept:
            return  # somebody else was first
        del self._kept[key]
        closing = asyncio.create_task(_closed(kept.opening, self.limits.close_s))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._room.set()


async def _opened(address: QueueAddress, limits: QueueLimits) -> Connection:
    async with asyncio.timeout(limits.connect_s):
        return await OPENERS[address.broker]()(address, limits)


async def _publish(connection: Connection, message: QueueMessage) -> str:
    try:
        await connection.publish(message)
    except QueueFault as fault:
        return _without_secrets(str(fault), message.address)
    except Exception as error:
        return _words(f"{message.address.shown} did not confirm the message", error, message.address)
    return ""


async def _closed(opening: asyncio.Task[Connection], close_s: float) -> None:
    """Close what was opened; what its end is like matters to nobody any more."""
    opening.cancel()
    (ended,) = await asyncio.gather(opening, return_exceptions=True)
    if not isinstance(ended, BaseException):
        await asyncio.gather(asyncio.wait_for(ended.close(), close_s), return_exceptions=True)


def _words(what: str, error: Exception, address: QueueAddress) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"{what}: nobody answered in time"
    if isinstance(error, QueueFault):
        return _without_secrets(f"{what}: {error}", address)
    return _without_secrets(f"{what}: {str(error) or repr(error)} ({type(error).__name__})", address)


def _without_secrets(text: str, address: QueueAddress) -> str:
    """A text without the address's password, in whatever spelling, which a library or a broker may repeat."""
    for secret in (address.password, address.user if address.password is None else None):
        for spelling in {secret, quote(secret, safe="")} if secret else ():
            text = text.replace(spelling, "***")
    return without_secrets(text)
