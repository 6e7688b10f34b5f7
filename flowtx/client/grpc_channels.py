"""Calls over gRPC, for threads and both event loops: grpcio's own threads carry them.

The law of this file: one channel a host, opened with its first call and closed with the client. Nothing is repeated: a
server that cannot be reached is told at once (no wait-for-ready).
"""

from __future__ import annotations

import threading
from typing import Any

import grpc

from flowtx.client.errors import ClientError, ServerUnreachable
from flowtx.client.exchanges import GRPC, ClientAnswer, ClientRequest

REPLY_MAX = 16 * 1024 * 1024
"""The longest reply that is read, in bytes."""


class GrpcCall:
    """A call under way, carried by grpcio's threads."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def wait(self) -> ClientAnswer:
        """Wait in this thread for its end, or for its time to be over."""
        code: grpc.StatusCode = self._future.code()
        number: int = code.value[0]
        body: bytes = self._future.result() if code is grpc.StatusCode.OK else b""
        return ClientAnswer(status=number, body=body, details=self._future.details() or "")

    def cancel(self) -> None:
        """Give it up; whoever waits is told. Does nothing to a call that has ended."""
        self._future.cancel()


class GrpcChannels:
    """The channels of one client."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.Channel] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    def send(self, request: ClientRequest) -> ClientAnswer:
        """Make a call and wait for its end; raises ``ServerUnreachable`` for one that cannot be made."""
        return self.start(request).wait()

    def start(self, request: ClientRequest) -> GrpcCall:
        """Begin a call; raises ``ServerUnreachable`` for one that cannot be made."""
        host, _, method = request.url.removeprefix(GRPC).partition("/")
        metadata = tuple((name.lower(), text) for name, text in request.headers)
        untyped: Any = self._channel(host)  # its types want to know how messages become bytes
        call = untyped.unary_unary(f"/{method}")
        try:
            return GrpcCall(call.future(request.body, timeout=request.timeout_s, metadata=metadata))
        except ValueError as error:  # metadata that no header can hold
            raise ServerUnreachable(f"{request.method} {request.url} cannot be made over gRPC: {error}") from error

    def _channel(self, host: str) -> grpc.Channel:
        with self._lock:
            if self._is_closed:
                raise ClientError("the client is closed, expected calls before its close()")
            if host not in self._channels:
                self._channels[host] = grpc.insecure_channel(
                    host,
                    options=[
                        ("grpc.max_receive_message_length", REPLY_MAX),
                        ("grpc.max_send_message_length", -1),
                        # A server that is back must not wait for a pause that grew while it was away.
                        ("grpc.initial_reconnect_backoff_ms", 100),
                        ("grpc.min_reconnect_backoff_ms", 100),
                        ("grpc.max_reconnect_backoff_ms", 2000),
                        # A connection of its own, so that closing the channel closes it.
                        ("grpc.use_local_subchannel_pool", 1),
                    ],
                )
            return self._channels[host]

    def close(self) -> None:
        """Close all channels, which cancels the calls under way, and take no more calls."""
        with self._lock:
            self._is_closed = True
            channels = list(self._channels.values())
            self._channels.clear()
        for channel in channels:
            channel.close()
