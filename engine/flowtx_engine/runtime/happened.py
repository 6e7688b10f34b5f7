"""What has happened and is not in the journal yet: facts on their way there, and who waits for them.

The law of this file: a fact is offered to a run, which may have no use for it any more; nothing here changes a run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import trio

from flowtx_engine.kernel.events import AnyFact, Attempted, Decided, Doubted, External, Started
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked
from flowtx_engine.runtime.judge import doubt_of, start_of

BRINGS_ATTEMPT = Attempted | Started | Decided
"""Facts about a step that may be followed by an attempt at it."""


class Bell:
    """Rung when something has happened to a run; its driver waits for it."""

    __slots__ = ("_rung",)

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        """Something has happened."""
        self._rung.set()

    async def wait(self, timeout_s: float) -> None:
        """Until it is rung, or has been since it was last waited for, or the time is up."""
        with trio.move_on_after(timeout_s):
            await self._rung.wait()
            self._rung = trio.Event()


class Put:
    """Something from outside on its way into the journal."""

    __slots__ = ("answered", "fact", "is_durable")

    def __init__(self, fact: External) -> None:
        self.fact = fact
        self.answered = trio.Event()
        self.is_durable = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Happened:
    """A fact and the address it speaks of; ``put`` is whoever waits to hear that it is durable.

    ``data`` is an event's, see there.
    """

    address: str
    fact: AnyFact
    data: bytes = b""
    put: Put | None = None


def takes(kernel: Kernel, one: Happened) -> bool:
    """False when the run is over, begins again, no longer waits for this, or has had it already."""
    if kernel.ended is not None or kernel.beginning or kernel.has_heard(one.fact):
        return False
    asked = kernel.asked(one.address) if one.address else None
    match one.fact:
        case Started():
            return asked is not None and not asked.is_started
        case Doubted():
            return asked is not None and asked.is_started and not asked.is_in_doubt
        case _:
            return not one.address or asked is not None


def of_once_steps(kernel: Kernel, due: Iterable[Asked], *, busy: Collection[str]) -> list[Happened]:
    """Of steps that may be made once only: what is in doubt, or else which of those that are ``due`` begin.

    One that was begun, and is not among the ``busy`` addresses, was begun by who drove the run before.
    """
    lost = [asked for asked in kernel.unanswered if asked.address not in busy]
    if lost:
        return [Happened(address=asked.address, fact=doubt_of(asked)) for asked in lost]
    return [Happened(address=asked.address, fact=start_of(asked)) for asked in due if asked.is_once]
