"""Memory channels: values handed from task to task of one run, first in, first out.

The law of this file: trio's, to the letter, checkpoints included. Nothing is journaled: a replay hands the same values
over in the same order.
"""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

from flowtx_dsl.errors import BrokenResourceError, ClosedResourceError, EndOfChannel, WouldBlock
from flowtx_engine.kernel.tasks import TURN, Scheduler, Task, Wait
from flowtx_engine.kernel.waits import checkpoint, checkpoint_if_cancelled

T = TypeVar("T")


class Buffer(Generic[T]):
    """What the ends of one channel share; a waiting task is kept with the end it waits at."""

    __slots__ = ("open_receive_count", "open_send_count", "receiving", "run", "sending", "size_max", "values")

    def __init__(self, run: Scheduler, size_max: float) -> None:
        self.run = run
        self.size_max = size_max
        self.values: deque[T] = deque()
        self.open_send_count = 0
        self.open_receive_count = 0
        self.sending: dict[Task, tuple[T, SendEnd[T]]] = {}
        self.receiving: dict[Task, ReceiveEnd[T]] = {}


class End(Generic[T]):
    """What both kinds of end have in common: they close."""

    __slots__ = ("_buffer", "_is_closed", "_run")

    def __init__(self, buffer: Buffer[T]) -> None:
        self._buffer = buffer
        self._run = buffer.run
        self._is_closed = False

    def close(self) -> None:
        """Close this end; no checkpoint."""
        if not self._is_closed:
            self._run.speaking()
            self._is_closed = True
            self._closed()

    def _closed(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close this end; a checkpoint."""
        self.close()
        await checkpoint(self._run)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._run.is_closed and kind is not GeneratorExit:  # else the run was dropped
            self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._run.is_closed and kind is not GeneratorExit:
            await self.aclose()


class SendEnd(End[T]):
    """The end that values go into."""

    __slots__ = ()

    def __init__(self, buffer: Buffer[T]) -> None:
        super().__init__(buffer)
        buffer.open_send_count += 1

    def send_nowait(self, value: T) -> None:
        """Hand over without waiting."""
        buffer = self._buffer
        self._run.speaking()
        if self._is_closed:
            raise ClosedResourceError("this end of the channel is closed: nothing can be sent")
        if not buffer.open_receive_count:
            raise BrokenResourceError("every receiver of the channel is closed: nobody can take what is sent")
        if buffer.receiving:
            task = next(iter(buffer.receiving))
            del buffer.receiving[task]
            self._run.reschedule(task, value)
        elif len(buffer.values) < buffer.size_max:
            buffer.values.append(value)
        else:
            raise WouldBlock(f"the channel is full ({len(buffer.values)} values) and nobody is receiving")

    async def send(self, value: T) -> None:
        """Hand over, waiting for room or a receiver."""
        await checkpoint_if_cancelled(self._run)
        try:
            self.send_nowait(value)
        except WouldBlock:
            pass
        else:
            await TURN
            return
        task = self._run.speaking()
        sending = self._buffer.sending
        sending[task] = (value, self)

        def abort() -> bool:
            del sending[task]
            return True

        await Wait(abort, "room in a channel")

    def clone(self) -> SendEnd[T]:
        """A second end."""
        self._run.speaking()
        if self._is_closed:
            raise ClosedResourceError("this end of the channel is closed: it cannot be cloned")
        return SendEnd(self._buffer)

    def _closed(self) -> None:
        buffer = self._buffer
        for task in [task for task, (_, end) in buffer.sending.items() if end is self]:
            del buffer.sending[task]
            self._run.reschedule(task, None, ClosedResourceError("this end of the channel was closed while sending"))
        buffer.open_send_count -= 1
        if not buffer.open_send_count:
            for task in list(buffer.receiving):
                self._run.reschedule(task, None, EndOfChannel("every sender of the channel is closed"))
            buffer.receiving.clear()


class ReceiveEnd(End[T]):
    """The end that values come out of."""

    __slots__ = ()

    def __init__(self, buffer: Buffer[T]) -> None:
        super().__init__(buffer)
        buffer.open_receive_count += 1

    def receive_nowait(self) -> T:
        """The next value, without waiting."""
        buffer = self._buffer
        self._run.speaking()
        if self._is_closed:
            raise ClosedResourceError("this end of the channel is closed: nothing can be received")
        if buffer.sending:
            task = next(iter(buffer.sending))
            value, _ = buffer.sending.pop(task)
            self._run.reschedule(task)
            buffer.values.append(value)
        if buffer.values:
            return buffer.values.popleft()
        if not buffer.open_send_count:
            raise EndOfChannel("every sender of the channel is closed and nothing is left in it")
        raise WouldBlock("the channel is empty and nobody is sending")

    async def receive(self) -> T:
        """The next value, waiting for one."""
        await checkpoint_if_cancelled(self._run)
        try:
            value = self.receive_nowait()
        except WouldBlock:
            pass
        else:
            await TURN
            return value
        task = self._run.speaking()
        receiving = self._buffer.receiving
        receiving[task] = self

        def abort() -> bool:
            del receiving[task]
            return True

        return cast("T", await Wait(abort, "a value from a channel"))

    def clone(self) -> ReceiveEnd[T]:
        """A second end."""
        self._run.speaking()
        if self._is_closed:
            raise ClosedResourceError("this end of the channel is closed: it cannot be cloned")
        return ReceiveEnd(self._buffer)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except EndOfChannel:
            raise StopAsyncIteration from None

    def _closed(self) -> None:
        buffer = self._buffer
        for task in [task for task, end in buffer.receiving.items() if end is self]:
            del buffer.receiving[task]
            self._run.reschedule(task, None, ClosedResourceError("this end of the channel was closed while receiving"))
        buffer.open_receive_count -= 1
        if not buffer.open_receive_count:
            for task in list(buffer.sending):
                self._run.reschedule(task, None, BrokenResourceError("every receiver of the channel is closed"))
            buffer.sending.clear()
            buffer.values.clear()
