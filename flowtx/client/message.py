"""A two-phase message as a value, and the fields that prepare and submit it (spec 2.3, 4.5, 10).

The law of this file: as a saga, a message is immutable and is refused here when no server could send it as meant.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from flowtx.client.barrier import Barrier
from flowtx.client.options import Options, check_gid
from flowtx_dsl.errors import WorkflowError

TOPIC = "topic://"


def topic(name: str) -> str:
    """The action that sends a message to every subscriber of a topic."""
    return TOPIC + name


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStep:
    """One receiver: its URL, or ``topic(name)`` for all its subscribers; and what is sent, as for ``SagaStep``."""

    action: str
    payload: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message: once submitted it reaches every receiver, in turn or with ``concurrent`` together, however long it
    takes.

    ``query_prepared`` is the URL of this service that answers whether the message's local transaction was committed;
    only a message that is prepared needs it. ``delay_s``: how long the server waits before it sends. A message cannot
    be refused, so ``timeout_to_fail_s`` says when the server asks ``query_prepared`` (its default is 35). Raises
    ``WorkflowError`` for what no server can send as meant.
    """

    gid: str
    steps: tuple[MessageStep, ...]
    query_prepared: str = ""
    delay_s: int = 0
    concurrent: bool = False
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        check_gid(self.gid)
        if isinstance(self.delay_s, bool) or self.delay_s < 0 or self.delay_s != int(self.delay_s):
            raise WorkflowError(f"Message.delay_s is {self.delay_s!r}, expected 0 or a positive whole number")
        if self.options.retry_count_max is not None:
            raise WorkflowError(
                f"message {self.gid} has retry_count_max={self.options.retry_count_max}, expected None",
                remedy="Leave it out: a submitted message is sent until it has arrived.",
            )

    def barrier(self, *, table: str | None = None) -> Barrier:
        """The barrier of its local transaction, which ``query_prepared`` asks for (spec 9.3)."""
        return Barrier(gid=self.gid, branch_id="00", op="msg", trans_type="msg", table=table)


def prepare_fields(message: Message) -> dict[str, object]:
    """The fields of the prepare: all but the delay and the payloads; raises ``WorkflowError``."""
    if not message.query_prepared:
        raise WorkflowError(
            f"message {message.gid} is to be prepared and has no query_prepared",
            remedy="Give the URL where this service answers whether the local transaction was committed: without it, "
            "a server takes a message that it hears no more of for committed, and sends it.",
        )
    return _fields(message)


def message_fields(message: Message) -> dict[str, object]:
    """The fields of the submit, without the payloads."""
    fields = _fields(message)
    if message.delay_s:
        fields["custom_data"] = msgspec.json.encode({"delay": message.delay_s}).decode()
    return fields


def _fields(message: Message) -> dict[str, object]:
    fields: dict[str, object] = {
        "gid": message.gid,
        "trans_type": "msg",
        "steps": [{"action": step.action} for step in message.steps],
        **message.options.fields(),
    }
    if message.query_prepared:
        fields["query_prepared"] = message.query_prepared
    if message.concurrent:
        fields["concurrent"] = True
    return fields
