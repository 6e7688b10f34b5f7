"""Structured concurrency: the types of nurseries, cancel scopes, events and channels in a workflow.

The law of this file: names and meanings are trio's; the kernel implements them. What differs from trio: instants are
datetimes with a time zone, a deadline is durable, and the order of everything is fixed, so that it replays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, TypeVarTuple

from flowtx_dsl.commands import Step
from flowtx_dsl.effects import Effect, idempotent
from flowtx_dsl.policies import Retry
from flowtx_dsl.steps import DEFAULT_RETRY, TakesResult, frame_here, step_of, where_of
from flowtx_dsl.targets import RemoteTarget

T = TypeVar("T")
T2 = TypeVar("T2")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
Ts = TypeVarTuple("Ts")


class CancelScope(AbstractContextManager["CancelScope", bool], ABC):
    """A part of a workflow that is cancelled as one: ``with tx.CancelScope() as scope``.

    ``cancelled_caught`` is True once the scope has ended and has caught a cancellation of its own.
    """

    __slots__ = ()

    cancelled_caught: bool

    @property
    @abstractmethod
    def deadline(self) -> datetime | None:
        """When the scope cancels itself, in UTC; None when it does not.

        It can be set at any time, to an instant with a time zone. The journal keeps it: a restart does not extend it. A
        scope of seconds has none before it is entered: ``WorkflowError``, as trio raises.
        """

    @deadline.setter
    @abstractmethod
    def deadline(self, deadline: datetime | None) -> None: ...

    @property
    @abstractmethod
    def shield(self) -> bool:
        """True while cancellations from outside this scope do not reach into it; it can be set at any time."""

    @shield.setter
    @abstractmethod
    def shield(self, shield: bool) -> None: ...

    @property
    @abstractmethod
    def cancel_called(self) -> bool:
        """True once ``cancel`` was called or the deadline has come."""

    @abstractmethod
    def cancel(self, reason: str = "") -> None:
        """Cancel everything inside; the second time does nothing.

        Steps that are asked there are given up: nobody waits for them any more, and their compensations stay due.
        """


class Nursery(ABC):
    """Parallel branches that end together: ``async with tx.open_nursery() as nursery``.

    The block ends when all its branches have; the first failure cancels the others, and all failures arrive as one
    ``ExceptionGroup``. ``cancel_scope`` surrounds the block and the branches.
    """

    __slots__ = ()

    cancel_scope: CancelScope

    @abstractmethod
    def start_soon(self, fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Start a branch: the async helper ``fn(*args)``, which gets what is passed and nothing else.

        Raises ``WorkflowError`` when ``fn`` is not async or the nursery has ended.
        """

    def start_step(
        self,
        fn: Callable[[*Ts], object] | RemoteTarget[Any],
        *args: *Ts,
        compensate: Callable[[*Ts], object] | TakesResult[*Ts] | RemoteTarget[Any] | None = None,
        compensate_refused: bool = False,
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
        effect: Effect[*Ts] = idempotent,
        key: str = "",
    ) -> None:
        """Start a branch that does one ``tx.step`` with these arguments; its result is not kept.

        Raises ``WorkflowError`` and ``PayloadError`` here and now when the step cannot be asked.
        """
        where = where_of(frame_here())
        step = step_of(fn, args, compensate, compensate_refused, retry, timeout_s, where, effect=effect, key=key)
        self._start_step(step)

    @abstractmethod
    def _start_step(self, step: Step) -> None: ...


class Event(Protocol):
    """Something that happens once: who waits for it goes on when it is set."""

    def is_set(self) -> bool:
        """True once it was set."""
        ...

    def set(self) -> None:
        """Let everybody who waits go on."""
        ...

    async def wait(self) -> None:
        """Wait until it is set; a checkpoint even when it is."""
        ...


class SendChannel(Protocol[T_contra]):
    """The end of a memory channel that values go into."""

    async def send(self, value: T_contra) -> None:
        """Hand a value over, waiting for room or for a receiver.

        Raises ``ClosedResourceError`` when this end is closed, ``BrokenResourceError`` when every receiver is.
        """
        ...

    def send_nowait(self, value: T_contra) -> None:
        """``send`` without waiting; raises ``WouldBlock`` when there is neither room nor a receiver."""
        ...

    def clone(self) -> Self:
        """A second end of the same channel; receivers come to the end when all are closed."""
        ...

    def close(self) -> None:
        """Close this end; whoever waits on it gets ``ClosedResourceError``."""
        ...

    async def aclose(self) -> None:
        """``close``, and a checkpoint."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ReceiveChannel(Protocol[T_co]):
    """The end of a memory channel that values come out of, also by ``async for``."""

    async def receive(self) -> T_co:
        """The next value, waiting for one.

        Raises ``ClosedResourceError`` when this end is closed, ``EndOfChannel`` when it is empty and every sender is.
        """
        ...

    def receive_nowait(self) -> T_co:
        """``receive`` without waiting; raises ``WouldBlock`` when nothing is there."""
        ...

    def clone(self) -> Self:
        """A second end of the same channel; each value goes to one of them."""
        ...

    def close(self) -> None:
        """Close this end; whoever waits on it gets ``ClosedResourceError``."""
        ...

    async def aclose(self) -> None:
        """``close``, and a checkpoint."""
        ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> T_co: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class OpensChannels(Protocol):
    """What opens a memory channel; the kernel does."""

    def open_channel(self, max_buffer_size: float, item: type[T]) -> tuple[SendChannel[T], ReceiveChannel[T]]:
        """Both ends of a new channel."""
        ...


class ChannelOpener(Generic[T]):
    """``tx.open_memory_channel``: to be called, or first told what travels as in trio: ``[int](0)``."""

    __slots__ = ("_item", "_run")

    def __init__(self, run: OpensChannels, item: type[T]) -> None:
        self._run = run
        self._item = item

    def __getitem__(self, item: type[T2]) -> ChannelOpener[T2]:
        return ChannelOpener(self._run, item)

    def __call__(self, max_buffer_size: float) -> tuple[SendChannel[T], ReceiveChannel[T]]:
        """A new channel that holds so many values, 0 or more, before ``send`` waits; ``math.inf`` for no limit.

        Raises ``WorkflowError`` for another size.
        """
        return self._run.open_channel(max_buffer_size, self._item)
