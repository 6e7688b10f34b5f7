"""The world of the compatibility tests: a server under test on one side, a scripted participant on the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator
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
async def dtm(nursery: trio.Nursery, tmp_path: Path) -> AsyncGenerator[Dtm]:
    settings = Settings(
        db=f"sqlite:///{tmp_path}/flowtx.db", bind="127.0.0.1:0", grace_s=1.0, body_max_bytes=16 * 1024 * 1024
    )
    stop = trio.Event()
    url: str = await nursery.start(partial(serve, settings, shutdown=stop.wait))
    yield Dtm(url=url)
    stop.set()
