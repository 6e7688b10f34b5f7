"""Performing a step on a message queue: the message as its consumers find it.

The law of this file: it decides and does not wait; ``perform_queue`` is the one function that does. The headers have
the names of DTM's gRPC metadata (spec 3.4), whatever the broker.
"""

from __future__ import annotations

from typing import Any

from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.queues import parse_queue_url
from flowtx_dsl.targets import QueueTarget
from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.calls.passing import passed_beside
from flowtx_engine.calls.queue_types import QueueFault, QueueMessage, QueueTransport
from flowtx_engine.calls.remote import ask_in_time, facts_of, header_value, idempotency_key_of

KEY_NAME = "idempotency-key"


async def perform_queue(
    target: QueueTarget[Any], attempt: Attempt, transport: QueueTransport, *, default_timeout_s: float
) -> Outcome:
    """Hand the step's message over once and say what became of it; never raises but when it is cancelled."""

    async def ask(timeout_s: float) -> Outcome:
        await transport.publish(message_of(target, attempt))
        return Outcome(kind="succeeded")

    own_faults = (QueueFault, WorkflowError)
    return await ask_in_time(target, attempt, ask, default_timeout_s=default_timeout_s, own_faults=own_faults)


def message_of(target: QueueTarget[Any], attempt: Attempt) -> QueueMessage:
    """The message of an attempt; raises ``QueueFault`` or ``WorkflowError`` for one that cannot be sent."""
    address = parse_queue_url(target.url)
    headers = _headers_of(target, attempt)
    for name, value in headers:
        if not name or not name.isascii() or not name.isprintable() or ":" in name or " " in name:
            raise QueueFault(f"{target.name} cannot be sent the header {name!r}, expected ASCII without ':' and blanks")
        if not value.isprintable():
            raise QueueFault(f"{target.name} cannot be sent the header {name}: its value has control characters")
    key = dict(headers)[KEY_NAME]
    return QueueMessage(address=address, message_id=key, headers=headers, body=attempt.command.call.body)


def _headers_of(target: QueueTarget[Any], attempt: Attempt) -> tuple[tuple[str, str], ...]:
    """DTM's facts and the key, unless the target names its own key; then the target's other headers."""
    facts = facts_of(target, attempt)
    own = passed_beside(target.headers) + target.headers
    first = {f"dtm-{name}": header_value(facts[name]) for name in ("gid", "trans_type", "branch_id", "op")}
    first[KEY_NAME] = next((value for name, value in own if name.lower() == KEY_NAME), idempotency_key_of(attempt))
    return (*first.items(), *((name, value) for name, value in own if name.lower() not in first))
