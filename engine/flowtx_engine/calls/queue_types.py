"""What an outgoing message to a queue is, and what comes of it; nothing here needs a broker's library.

Law: a message was taken, durably as its broker means that, or there is a ``QueueFault``: then nobody knows. A broker
has no other answers, so none of them is a refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from flowtx_dsl.queues import QueueAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMessage:
    """One message: ``message_id`` is the same at every attempt, and one of the headers, too."""

    address: QueueAddress
    message_id: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)


class QueueFault(Exception):
    """The broker did not say that it has the message; the text says what is wrong and holds no credentials."""


class QueueTransport(Protocol):
    """Anything that can bring a ``QueueMessage`` to its broker."""

    async def publish(self, message: QueueMessage) -> None:
        """Return when the broker has the message; raises ``QueueFault`` when that is not known."""
        ...
