"""An asyncio event loop in a thread of its own, for libraries that know no other.

Law: the thread begins with the first call and ends with ``aclose``, and whatever ran on it is over then. A call that is
cancelled on trio's side is cancelled on asyncio's. Results and errors cross the border; nothing else is shared.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import trio

T = TypeVar("T")

JOIN_MAX_S = 5.0
"""How long the end of the thread is waited for; what it runs has been cancelled before."""


class AsyncioThread:
    """Runs coroutines of asyncio for tasks of trio."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """True between the first call and ``aclose``."""
        return self._loop is not None

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the coroutine returns or raises; a cancellation here cancels it there."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # A daemon, so that a program that forgets to close it can end.
            self._thread = threading.Thread(target=_live, args=(self._loop,), name=self._name, daemon=True)
            self._thread.start()
        token, done = trio.lowlevel.current_trio_token(), trio.Event()

        def tell(_: object) -> None:
            with suppress(trio.RunFinishedError):  # the last call of a program that is over
                token.run_sync_soon(done.set)

        future = asyncio.run_coroutine_threadsafe(make(), self._loop)
        future.add_done_callback(tell)
        try:
            await done.wait()
        finally:
            future.cancel()  # does nothing to what has ended
        return future.result()

    async def aclose(self) -> None:
        """Cancel whatever runs and end the thread."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.join, JOIN_MAX_S)


def _live(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        # The order of asyncio.run: tasks first, because they may use generators and threads in their clean-up.
        loop.run_until_complete(_end_tasks())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _end_tasks() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
