"""Both ends of a queue: what flowtx sends with, and the broker where it arrives."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from flowtx_dsl.queues import parse_queue_url
from flowtx_engine.calls.queue_types import QueueFault, QueueMessage, QueueTransport
from tests.brokers.side import Received, Side

PUBLISHED_MAX_S = 30


@dataclass
class Both:
    """A transport, and the broker at its other end."""

    transport: QueueTransport
    side: Side

    async def publish(self, url: str, number: int = 0, body: bytes = b"{}") -> None:
        with trio.fail_after(PUBLISHED_MAX_S):
            await self.transport.publish(message(url, number, body))

    async def received(self, url: str) -> list[Received]:
        return await trio.to_thread.run_sync(self.side.received, url)


def message(url: str, number: int = 0, body: bytes = b"{}") -> QueueMessage:
    key = f"g/{number}"
    headers = (("dtm-gid", "g"), ("dtm-op", "action"), ("idempotency-key", key), ("Tenant", "7 x"))
    return QueueMessage(address=parse_queue_url(url), message_id=key, headers=headers, body=body)


async def was_taken(both: Both, url: str, number: int) -> bool:
    """True when the broker has the message, False when nobody knows."""
    try:
        await both.publish(url, number)
    except QueueFault:
        return False
    return True
