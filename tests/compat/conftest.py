"""The world of the compatibility tests: a server under test on one side, a scripted participant on the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from flowtx.server import serve
from flowtx.settings import Settings
from tests.compat.dtm import Dtm
from tests.compat.web import Participant


@pytest.fixture
async def participant(nursery: trio.Nursery) -> Participant:
    participant = Participant()
    await nursery.start(participant.serve)
    return participant


@pytest.fixture
async def open_dtm(nursery: trio.Nursery, tmp_path: Path) -> AsyncGenerator[Callable[..., Awaitable[Dtm]]]:
    """Starts a server with these settings changed; it stops when the test ends."""
    usual = Settings(db=f"sqlite:///{tmp_path}/flowtx.db", bind="127.0.0.1:0", grpc_bind="off", grace_s=1.0)
    stop = trio.Event()

    async def open_with(**changes: object) -> Dtm:
        settings = replace(usual, **changes)  # type: ignore[arg-type]  # tests name settings rightly or fail at once
        url: str = await nursery.start(partial(serve, settings, shutdown=stop.wait))
        return Dtm(url=url)

    yield open_with
    stop.set()


@pytest.fixture
async def dtm(open_dtm: Callable[..., Awaitable[Dtm]]) -> Dtm:
    return await open_dtm()
