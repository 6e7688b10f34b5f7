"""What somebody outside sends to a run: values of signals, and updates, whose sender waits to be answered.

The law of this file: an update is answered once. What the run does before it answers is its own affair: steps, sleeps,
more signals. Who asked waits as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from flowtx_dsl import codec
from flowtx_dsl.errors import PayloadError, Refused

T = TypeVar("T")

Reply = Callable[[bytes, Exception | None], None]

SHOWN_CHARS_MAX = 80
"""As much of a value that does not fit is shown: enough to know it by."""


def read_sent(decoder: codec.Decoder, data: bytes, word: str, name: str) -> Any:
    """What was sent, as ``tx.signal`` or ``tx.update`` (the word) waits for it; raises ``PayloadError`` with the value.

    The error tells the call and no line: a workflow may hand its text to a step, and lines move with every edit.
    """
    try:
        return decoder.decode(data, what=f"{word} {name}")
    except PayloadError as error:
        text = data.decode(errors="replace")
        shown = text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}..."
        call = f"tx.{word}({name!r}, type={codec.spell_type(decoder.wanted)})"
        raise PayloadError(
            f"{error.message}; {shown} was sent, and {call} awaits it", remedy=f"Send what {call} says."
        ) from error


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
