"""HTTP connections on trio: Hypercorn's, with ends that are sure.

The law of this file: no client, whatever it sends or leaves out, holds a connection for ever, keeps the server from
stopping, or ends it for others. What is mended here is named, with what happens without it.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from quart import Quart

log = logging.getLogger("flowtx.dtm")

PIECE_BYTES = 1 << 16
"""An answer is sent in pieces of this size, so that a slow reader can be told from one that does not read."""


async def serve_app(
    app: Quart, config: Config, listener: socket.socket, shutdown: Callable[[], Awaitable[None]]
) -> None:
    """Serve an application on a listening socket until ``shutdown`` returns and its connections have ended.

    They have ``graceful_timeout`` seconds for that. Stands in for Hypercorn's ``worker_serve``, in which an error of
    one connection ends all, and which waits for ever for a client that does not read its answer.
    """
    wrapped = ASGIWrapper(app)  # type: ignore[arg-type, unused-ignore]  # Quart is an application, but says so in other words
    lifespan = Lifespan(wrapped, config, {})
    context = WorkerContext(None)
    sending = Sending()
    async with trio.open_nursery() as living:
        await living.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as cutting:
            cutting.start_soon(sending.cut_when_cancelled)
            async with trio.open_nursery() as connections, trio.open_nursery() as accepting:
                converse = partial(_converse, wrapped, config, context, sending)
                listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
                accepting.start_soon(partial(trio.serve_listeners, converse, listeners, handler_nursery=connections))
                await shutdown()
                accepting.cancel_scope.cancel()
                await context.terminated.set()
                ends_at = trio.current_time() + config.graceful_timeout
                connections.cancel_scope.deadline = cutting.cancel_scope.deadline = ends_at
            cutting.cancel_scope.cancel()
        await lifespan.wait_for_shutdown()
        living.cancel_scope.cancel()


async def _converse(
    app: AppWrapper, config: Config, context: WorkerContext, sending: Sending, stream: trio.SocketStream
) -> None:
    """One connection, to its end; an error of it is its own."""
    try:
        await Connection(app, config, context, sending, stream).run()
    except* Exception as errors:
        log.warning("a connection was given up: %r", errors.exceptions[0])
        log.debug("where it failed", exc_info=errors)


class Sending:
    """Answers that are on their way to clients, which no cancellation ends but the last one."""

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self._is_cut = False

    async def send(self, stream: trio.SocketStream, data: bytes, *, wait_max_s: float) -> None:
        """Send; raises ``BrokenResourceError`` when the client takes nothing for ``wait_max_s`` seconds, or is gone."""
        for at in range(0, len(data), PIECE_BYTES):
            with trio.CancelScope(shield=True, deadline=trio.current_time() + wait_max_s) as scope:
                self._scopes.add(scope)
                if self._is_cut:
                    scope.cancel()
                try:
                    await stream.send_all(data[at : at + PIECE_BYTES])
                except trio.BusyResourceError as error:  # another task is closing it
                    raise trio.BrokenResourceError("the connection is being closed") from error
                finally:
                    self._scopes.discard(scope)
            if scope.cancelled_caught:
                await trio.aclose_forcefully(stream)
                raise trio.BrokenResourceError("the client does not read its answer")

    async def cut_when_cancelled(self) -> None:
        """Wait to be cancelled; what is being sent then, and afterwards, is broken off."""
        try:
            await trio.sleep_forever()
        finally:
            self._is_cut = True
            for scope in self._scopes:
                scope.cancel()


class Connection(TCPServer):
    """A connection of Hypercorn's, which ends when nothing happens on it."""

    def __init__(
        self, app: AppWrapper, config: Config, context: WorkerContext, sending: Sending, stream: trio.SocketStream
    ) -> None:
        super().__init__(app, config, context, ConnectionState({}), stream)  # type: ignore[arg-type]  # it takes streams without TLS, too
        self._plain_stream = stream
        self._sending = sending

    async def protocol_send(self, event: Event) -> None:
        """Hypercorn's, which waits for ever, shielded from every cancellation, until the client reads."""
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        async with self.send_lock:
            try:
                await self._sending.send(self._plain_stream, event.data, wait_max_s=self.config.keep_alive_timeout)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await self.protocol.handle(Closed())

    async def _read_data(self) -> None:
        """Hypercorn's, which never again asks whether a connection idles once something began on it: HTTP/2's preface
        without a request, or an upgrade that is refused.
        """
        while True:
            data: bytes | bytearray | None = None
            try:
                with trio.move_on_after(self.config.keep_alive_timeout):
                    data = await self._plain_stream.receive_some(MAX_RECV)
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                break
            if data is None:
                if self._is_answering:
                    continue
                break
            await self.protocol.handle(RawData(bytes(data)))
            if not data:
                break
        await self.protocol.handle(Closed())
        await self.idle_task.stop()  # it would keep what the client has closed for its full time
        if not isinstance(self.protocol.protocol, H11Protocol):
            # HTTP/2's answers wait for a task that has ended with this, and would wait for ever.
            self._task_group._nursery.cancel_scope.cancel()  # type: ignore[union-attr]  # it is open: this runs in it

    @property
    def _is_answering(self) -> bool:
        """Whether a request is under way; that its body comes is the application's to watch."""
        protocol = self.protocol.protocol
        streams = [protocol.stream] if isinstance(protocol, H11Protocol) else protocol.streams.values()
        return any(isinstance(stream, HTTPStream) for stream in streams)  # WebSockets are not served
