"""The brokers that messages go to: connections that are kept, used by many at once, and opened anew when they are lost.

Law: a connection belongs to one address but for the place in it. Whatever a library raises becomes a ``QueueFault``
here, with no cause: its texts may hold a whole URL.

The libraries know asyncio only, so all of this but ``publish`` runs on its loop, in one thread.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import quote

from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.queues import QueueAddress, check_library, without_secrets
from flowtx_engine.calls.asyncio_thread import AsyncioThread
from flowtx_engine.calls.queue_sharing import Lossy, Shared
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


class Connection(Lossy, Protocol):
    """A connection to a broker, used by many messages at once."""

    async def publish(self, message: QueueMessage) -> None:
        """Return when the broker has the message; raises ``QueueFault`` with words of its own, or anything."""
        ...


Open = Callable[[QueueAddress, QueueLimits], Awaitable[Connection]]


def _amqp() -> Open:
    from flowtx_engine.calls.queue_amqp import open_amqp  # noqa: PLC0415 - optional, and loaded by the first message

    return open_amqp


def _nats() -> Open:
    from flowtx_engine.calls.queue_nats import open_nats  # noqa: PLC0415 - optional, and loaded by the first message

    return open_nats


def _redis() -> Open:
    from flowtx_engine.calls.queue_redis import open_redis  # noqa: PLC0415 - optional, and loaded by the first message

    return open_redis


OPENERS: Mapping[str, Callable[[], Open]] = {"amqp": _amqp, "nats": _nats, "redis": _redis}
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


class _Connections:
    """The connections, on asyncio's side."""

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self._shared = Shared[Connection](count_max=limits.connections_max, close_s=limits.close_s)

    async def publish(self, message: QueueMessage) -> str:
        """Send a message; why nobody knows whether it arrived, or nothing when it has.

        A text and no exception, because an exception would bring the library's along.
        """
        address = message.address
        what = f"{address.shown} cannot be reached, expected {address.broker} there"
        try:
            async with self._shared.use(address.connection, lambda: self._open(address)) as connection:
                what = f"{address.shown} did not confirm the message"
                await connection.publish(message)
        except Exception as error:
            return _words(what, error, address)
        return ""

    async def close(self) -> None:
        """Close all connections."""
        await self._shared.close()

    async def _open(self, address: QueueAddress) -> Connection:
        async with asyncio.timeout(self._limits.connect_s):
            return await OPENERS[address.broker]()(address, self._limits)


def _words(what: str, error: Exception, address: QueueAddress) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"{what}: nobody answered in time"
    if isinstance(error, QueueFault):  # it has words of its own
        return f"{address.shown}: {_without_secrets(str(error), address)}"
    return f"{what}: {_without_secrets(str(error) or repr(error), address)} ({type(error).__name__})"


def _without_secrets(text: str, address: QueueAddress) -> str:
    """A text without the address's password or token, in whatever spelling: a library or a broker may repeat it."""
    secret = address.user if address.password is None else address.password
    for spelling in {secret, quote(secret, safe="")} if secret else ():
        text = re.sub(rf"(?<!\w){re.escape(spelling)}(?!\w)", "***", text)
    return without_secrets(text)
