"""Updates: what somebody outside asks of a run and waits to be answered.

The law of this file: an update is answered once. What the run does before it answers is its own affair: steps, sleeps,
more signals. Who asked waits as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from flowtx_dsl import codec
from flowtx_dsl.errors import Refused

T = TypeVar("T")

Reply = Callable[[bytes, Exception | None], None]


class Update(Generic[T]):
    """One update, as ``await tx.update(name)`` takes it; ``value`` is what was asked."""

    __slots__ = ("_name", "_reply", "value")

    def __init__(self, name: str, value: T, reply: Reply) -> None:
        self.value = value
        self._name = name
        self._reply = reply

    def answer(self, result: object = None) -> None:
        """Answer it; raises ``PayloadError`` for what cannot be encoded, ``WorkflowError`` the second time."""
        self._reply(codec.encode(result, what=f"the answer to {self._name}"), None)

    def refuse(self, reason: str) -> None:
        """Answer it with a "no": who asked gets ``Refused`` with this reason."""
        self._reply(b"null", Refused(reason))

    def __repr__(self) -> str:
        return f"<Update {self._name} {self.value!r}>"
