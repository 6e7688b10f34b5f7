"""Commands: what workflow code asks for. They are not journaled, because replay asks for them again.

The law of this file: a command is a value, complete when it is made: whoever performs it needs nothing else of the
workflow. The kernel gives it an address; the engine performs it. Commands are msgspec Structs because a frozen
dataclass takes ten times as long to make, and every step makes two.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from flowtx_dsl.policies import Retry
from flowtx_dsl.targets import Call


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Perform ``call`` until it has an outcome; ``where`` is the source line that asked.

    ``compensation`` is due should the transaction fail, ``confirmation`` once it has succeeded. ``key`` is an
    idempotency key of its own. ``is_once`` forbids a second attempt while nobody knows what became of the first;
    ``check`` is asked about that before it.
    """

    call: Call
    where: str
    retry: Retry
    timeout_s: float | None = None
    compensation: Call | None = None
    compensates_refused: bool = False
    confirmation: Call | None = None
    key: str = ""
    is_once: bool = False
    check: Call | None = None


class Compensate(msgspec.Struct, frozen=True, kw_only=True):
    """Take ``step`` back: as a step, but no refusal ends it. ``result`` is the step's (JSON), None when unknown.

    ``step`` is None for what was registered without one.
    """

    call: Call
    where: str
    retry: Retry
    timeout_s: float | None = None
    step: Call | None = None
    result: bytes | None = None
    key: str = ""


class Confirm(msgspec.Struct, frozen=True, kw_only=True):
    """Perform ``call`` because the transaction has succeeded: as a step, but no refusal ends it.

    ``step`` and ``result`` are as for ``Compensate``.
    """

    call: Call
    where: str
    retry: Retry
    timeout_s: float | None = None
    step: Call | None = None
    result: bytes | None = None
    key: str = ""


class Sleep(msgspec.Struct, frozen=True, kw_only=True):
    """A timer: wait until an instant, in seconds since the epoch; ``name`` is what messages call it."""

    until_at: float
    where: str
    name: Literal["sleep", "deadline", "start"] = "sleep"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Ask whether ``step`` has happened: no command of a workflow, but what is performed before another attempt."""

    call: Call
    where: str
    retry: Retry
    timeout_s: float | None = None
    step: Call
    key: str = ""


Performed = Step | Compensate | Confirm
"""What is carried out outside the run, attempt by attempt."""

Settling = Compensate | Confirm
"""What is done when the workflow has ended, either way: it is tried until it succeeds, a refusal is a fault."""

Command = Performed | Sleep
