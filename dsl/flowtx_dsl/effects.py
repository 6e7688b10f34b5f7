"""Effect classes: what may be done about a step when nobody knows whether it happened.

The law of this file: an effect is a value that a step carries; who performs the step keeps it. A step is idempotent
unless it says otherwise: then it is simply made again, under the same key.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVarTuple

from flowtx_dsl.errors import WorkflowError

Ts = TypeVarTuple("Ts")

KEY_CHARS_MAX = 512
"""The longest idempotency key of one's own: it travels in a header."""


class NotDone(enum.Enum):
    """The type of ``NOT_DONE``; an enum of one member, so that type checkers can tell it apart by ``is``."""

    NOT_DONE = "not done"

    def __repr__(self) -> str:
        return "NOT_DONE"


NOT_DONE = NotDone.NOT_DONE
"""What the function of ``flowtx.check`` returns when the step has not happened."""


class Simple(enum.Enum):
    """The effect classes that need nothing but their name."""

    IDEMPOTENT = "idempotent"
    ONCE = "once"

    def __repr__(self) -> str:
        return f"flowtx.{self.value}"


@dataclass(frozen=True, slots=True)
class Check(Generic[*Ts]):
    """The effect class that ``flowtx.check`` makes."""

    fn: Callable[[*Ts], object]


Effect = Simple | Check[*Ts]

idempotent: Literal[Simple.IDEMPOTENT] = Simple.IDEMPOTENT
"""The step may be made again: it does nothing the second time, by its key or by its nature. The default."""

once: Literal[Simple.ONCE] = Simple.ONCE
"""The step is never made again by itself: when its outcome is unknown, the run waits for a person's decision."""


def check(fn: Callable[[*Ts], object]) -> Check[*Ts]:
    """Before the step is made again, ask ``fn`` with the step's arguments whether it has happened.

    ``fn`` is a function, async or sync, and sees the step's key by ``flowtx.current_step()``. It returns the step's
    result, or ``flowtx.NOT_DONE``; what it raises is a fault, and it is asked again. Raises ``WorkflowError`` for what
    cannot be called.
    """
    if not callable(fn):
        raise WorkflowError(
            f"flowtx.check takes a function, got {fn!r}",
            remedy="Pass one that takes the step's arguments and returns its result, or flowtx.NOT_DONE.",
        )
    return Check(fn)


def check_key(key: object, name: str) -> None:
    """Raise ``WorkflowError`` for what cannot be a step's key."""
    if not isinstance(key, str) or not 0 < len(key) <= KEY_CHARS_MAX or not key.isprintable():
        raise WorkflowError(
            f"step {name}: key={key!r}, expected 1 to {KEY_CHARS_MAX} printable characters",
            remedy="Build it from the step's own data; left out, it is the transaction's gid and the step's address.",
        )
