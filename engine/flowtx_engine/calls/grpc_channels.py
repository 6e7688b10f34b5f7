"""The gRPC client that calls participants: grpcio's threads below, trio above.

Law: a call ends with a status, with a ``GrpcFault``, or with the caller's cancellation, which cancels it at the
participant too. There is one channel for each host and port, kept for the next call; never more than the limit.

grpcio knows no event loop but asyncio's, so its thread completes the call and wakes the waiting task. That thread lives
as long as a call of its channel is under way; a channel at rest has none, and drops its connection after a while.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field

import grpc
import trio

from flowtx_engine.calls.grpc_types import GrpcFault, GrpcRequest, GrpcResponse, ReplyTooLong

_TOO_LONG = "CLIENT: Received message larger than max"
"""What the library says of a reply that it does not take; a participant has no reason to speak of a CLIENT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcLimits:
    """The limits of ``GrpcChannels``. Lengths of time are in seconds, sizes in bytes.

    ``channels_max`` counts the hosts with a channel; when all are in use, calls to another host wait their turn.
    ``idle_s`` is how long a connection is kept open unused. After a connection failed the next is tried no later than
    ``reconnect_max_s``; until then calls fail at once. ``reply_max`` is for one reply.
    """

    channels_max: int = 100
    idle_s: float = 30.0
    reconnect_max_s: float = 2.0
    reply_max: int = 16 * 1024 * 1024


@dataclass(slots=True)
class _Channel:
    channel: grpc.Channel
    calls_count: int = 0


@dataclass(slots=True)
class GrpcChannels:
    """A ``GrpcTransport`` over plain-text channels that are kept and used again. Call ``aclose`` at the end."""

    limits: GrpcLimits = field(default_factory=GrpcLimits)
    _channels: OrderedDict[str, _Channel] = field(default_factory=OrderedDict[str, _Channel])  # oldest use first
    _room: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)
    _is_closed: bool = False

    async def call(self, request: GrpcRequest, *, timeout_s: float) -> GrpcResponse:
        """Make a call, ``timeout_s`` being all the time it has.

        Raises ``GrpcFault`` when it could not be tried, ``ReplyTooLong`` when its reply is longer than ``reply_max``.
        """
        held = await self._take(request.host)
        try:
            response = await _call(held.channel, request, timeout_s)
            if response.status == "RESOURCE_EXHAUSTED" and _TOO_LONG in response.details:
                raise ReplyTooLong(
                    f"the reply of {request.host}{request.method} is longer than {self.limits.reply_max} bytes"
                )
            return response
        finally:
            held.calls_count -= 1
            if not held.calls_count:
                self._room.unpark_all()

    async def _take(self, host: str) -> _Channel:
        while True:
            if self._is_closed:
                raise GrpcFault(f"{host} was not called, because the engine is shutting down")
            held = self._channels.get(host)
            if held is not None or self._has_room():
                break
            await self._room.park()
        if held is None:
            held = self._channels[host] = _Channel(_open(host, self.limits))
        self._channels.move_to_end(host)
        held.calls_count += 1
        return held

    def _has_room(self) -> bool:
        """True when one more channel may be opened, after the one unused for longest was closed, if need be."""
        if len(self._channels) < self.limits.channels_max:
            return True
        unused = next((host for host, held in self._channels.items() if not held.calls_count), None)
        if unused is None:
            return False
        self._channels.pop(unused).channel.close()
        return True

    async def aclose(self) -> None:
        """Close all channels, which cancels the calls still under way, and take no more calls."""
        self._is_closed = True
        while self._channels:
            self._channels.popitem()[1].channel.close()
        self._room.unpark_all()
        await trio.lowlevel.checkpoint()

    def __repr__(self) -> str:
        return f"<GrpcChannels to {', '.join(self._channels) or 'nobody'}>"


def _open(host: str, limits: GrpcLimits) -> grpc.Channel:
    options: list[tuple[str, int | str]] = [
        ("grpc.client_idle_timeout_ms", round(1000 * limits.idle_s)),
        ("grpc.max_receive_message_length", limits.reply_max),
        ("grpc.max_send_message_length", -1),
        # A participant that is back must not wait for a pause that grew to minutes while it was away.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", round(1000 * limits.reconnect_max_s)),
        # As DTM: calls go round the addresses of a name (spec 3.4, GrpcServiceConfig).
        ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
        # A connection of its own, so that closing the channel closes it.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.insecure_channel(host, options=options)


async def _call(channel: grpc.Channel, request: GrpcRequest, timeout_s: float) -> GrpcResponse:
    method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(request.method)
    try:
        future = method.future(request.body, timeout=timeout_s, metadata=request.metadata)
    except ValueError as error:  # metadata that no header can hold
        raise GrpcFault(f"{request.host}{request.method} cannot be called over gRPC: {error}") from error
    token = trio.lowlevel.current_trio_token()
    done = trio.Event()

    def tell(_: object) -> None:
        with suppress(trio.RunFinishedError):  # the last call of a program that is over
            token.run_sync_soon(done.set)

    future.add_done_callback(tell)
    try:
        await done.wait()
    finally:
        future.cancel()  # does nothing to a call that has ended
    status = future.code()
    return GrpcResponse(
        status=status.name,
        details=future.details() or "",
        body=future.result() if status is grpc.StatusCode.OK else b"",
    )
