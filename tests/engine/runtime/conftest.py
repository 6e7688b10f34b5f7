"""An engine in memory under a clock that jumps, for tests of the runtime."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import pytest
import trio

from flowtx.testing.participants import Participants
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.calls.performer import Calls
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.store import Store
from flowtx_engine.runtime.clock import TrioClock
from flowtx_engine.runtime.engine import Engine
from flowtx_engine.runtime.limits import EngineLimits

T = TypeVar("T")
OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]


async def run_inline(fn: Callable[[], T]) -> T:
    """A sync step without its thread, because the clock would jump over it."""
    await trio.lowlevel.checkpoint()
    return fn()


@pytest.fixture
def store() -> MemoryStore:
    """A journal in memory; engines opened one after another on it are restarts."""
    return MemoryStore()


@pytest.fixture
def participants() -> Participants:
    """The network that steps over HTTP call."""
    return Participants()


@pytest.fixture
def open_engine(store: MemoryStore, participants: Participants) -> OpenEngine:
    """Open an engine on the test's store; leaving the block is a graceful shutdown."""

    @asynccontextmanager
    async def open_on(
        workflows: Iterable[AnyWorkflow] = (), *, limits: EngineLimits | None = None, on: Store | None = None
    ) -> AsyncGenerator[Engine]:
        engine = Engine(
            Journal(on or store),
            Calls(participants, grpc=participants, queues=participants, run_sync=run_inline),
            workflows=workflows,
            limits=limits,
            clock=TrioClock(),
            dice=random.Random(0),
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.serve)
            yield engine
            await engine.shut_down()
            nursery.cancel_scope.cancel()

    return open_on
