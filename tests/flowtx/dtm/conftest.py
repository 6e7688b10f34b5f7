"""A desk for operations: a real engine, participants by script, a clock that follows trio's."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import pytest
import trio

from flowtx.dtm.operations.desk import Desk
from flowtx.server import WORKFLOWS
from flowtx.settings import Settings
from flowtx.testing.participants import Participants
from flowtx.testing.world import LONE_NODE
from flowtx_engine.calls.performer import Calls
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.runtime.clock import TrioClock
from flowtx_engine.runtime.engine import Engine

T = TypeVar("T")

OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]


async def no_threads(fn: Callable[[], T]) -> T:
    """A sync step without a thread; the patterns have none."""
    raise AssertionError(fn)


@pytest.fixture
def open_desk() -> OpenDesk:
    """Open a desk on an empty journal, with participants that accept everything unless others are given."""

    @asynccontextmanager
    async def open_with(
        participants: Participants | None = None, *, store: MemoryStore | None = None
    ) -> AsyncGenerator[Desk]:
        transport = participants or Participants(delay_s=0.0)
        engine = Engine(
            Journal(store or MemoryStore()),
            Calls(transport, grpc=transport, queues=transport, run_sync=no_threads),
            workflows=WORKFLOWS,
            limits=LONE_NODE,
            clock=TrioClock(),
            dice=random.Random(id(transport)),  # nodes on one store have names of their own
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.serve)
            yield Desk(engine=engine, settings=Settings())
            await engine.shut_down()
            nursery.cancel_scope.cancel()

    return open_with
