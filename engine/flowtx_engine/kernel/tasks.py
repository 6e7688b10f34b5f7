"""Tasks of a run, and what they wait for.

The law of this file: an address is a place in the task tree and nothing else. A task numbers what it asks for in its
own program order, so no sibling's timing can change an address.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Coroutine, Generator

import msgspec

from flowtx_dsl.commands import Command, Compensate, Sleep, Step
from flowtx_engine.kernel.events import ARGS_KEPT_MAX, CallRecord

_by_key = msgspec.json.Encoder(order="sorted")


class Ask:
    """What a word of ``tx`` yields to the kernel: a command that wants an outcome."""

    __slots__ = ("address", "command")

    def __init__(self, command: Command, address: str = "") -> None:
        self.command = command
        self.address = address

    def __await__(self) -> Generator[Ask, object, object]:
        """Hand the command over; resumes with its outcome."""
        return (yield self)


class Task:
    """One coroutine of a run, at its address; ``prefix`` stands before the numbers of what it asks for."""

    __slots__ = ("_dice", "address", "asked", "coro", "count", "error", "prefix", "value")

    def __init__(self, coro: Coroutine[object, object, object], address: str) -> None:
        self.coro = coro
        self.address = address
        self.prefix = f"{address}/" if address else ""
        self.count = 0
        self.asked: Asked | None = None
        self.value: object = None
        self.error: BaseException | None = None
        self._dice: random.Random | None = None

    def next_address(self) -> str:
        """The address of the next thing this task asks for."""
        count = self.count
        self.count = count + 1
        return f"{self.prefix}{count}"

    def dice(self, gid: str) -> random.Random:
        """This task's generator; a string seed is hashed by ``random`` in a way that is stable over processes."""
        if self._dice is None:
            self._dice = random.Random(f"{gid}\n{self.address}")  # not for secrets
        return self._dice

    def __repr__(self) -> str:
        return f"<Task {self.address or 'root'}>"


class Asked:
    """A command waiting for its outcome, with what is known of its attempts.

    ``retry_at`` is when the next attempt is due (0: at once), in seconds since the epoch.
    """

    __slots__ = ("_record", "address", "attempt_count", "command", "fault_count", "retry_at", "task")

    def __init__(self, address: str, command: Command, task: Task) -> None:
        self.address = address
        self.command = command
        self.task = task
        self.attempt_count = 0
        self.fault_count = 0
        self.retry_at = 0.0
        self._record: CallRecord | None = None

    @property
    def record(self) -> CallRecord:
        """What to keep of the call beside its outcome; made once, so live feeding can compare by identity."""
        if self._record is None:
            self._record = _record_of(self.command)
        return self._record

    def is_record(self, record: CallRecord) -> bool:
        """True when this very object made the record, as in live running."""
        return record is self._record

    def __repr__(self) -> str:
        return f"<Asked {self.address} {name_of(self.command)}>"


class Abandoned:
    """The run no longer waits for this address: end the call if it is still on its way."""

    __slots__ = ("address",)

    def __init__(self, address: str) -> None:
        self.address = address

    def __repr__(self) -> str:
        return f"<Abandoned {self.address}>"


Order = Asked | Abandoned


def name_of(command: Command) -> str:
    """What events and messages call a command."""
    return command.name if isinstance(command, Sleep) else command.call.name


def payload_of(command: Command) -> bytes:
    """A command's arguments as JSON."""
    return command.call.payload if isinstance(command, Step | Compensate) else b"[]"


def _record_of(command: Command) -> CallRecord:
    if isinstance(command, Sleep):
        return CallRecord(name=command.name, where=command.where)
    call = command.call
    size = len(call.payload)
    if size <= ARGS_KEPT_MAX:
        return CallRecord(name=call.name, where=command.where, args=msgspec.Raw(call.payload))
    return CallRecord(name=call.name, where=command.where, digest=digest_of(call.payload), size=size)


def digest_of(payload: bytes) -> str:
    """The SHA-256 of a payload, in hex; the order of an object's keys does not count."""
    return hashlib.sha256(_by_key.encode(msgspec.json.decode(payload))).hexdigest()
