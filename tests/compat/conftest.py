"""The world of the compatibility tests: a server under test on one side, a scripted participant on the other.

Most tests share one server, so their gids are their own (``new_gid``) and they look at nothing else. Tests that need a
server without other transactions ask for ``fresh_dtm``, those that say what time it is for ``clocked``.

With FLOWTX_COMPAT_URL the tests ask a server that runs already, at this address; FLOWTX_COMPAT_GRPC and
FLOWTX_COMPAT_CONTROL name its gRPC address and the control API of its test mode.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from flowtx.server import serve
from flowtx.settings import Settings
from tests.compat.dtm import Dtm
from tests.compat.grpc_side import GrpcParticipant
from tests.compat.server import foreign_server, running_server
from tests.compat.ways import WAYS, Way
from tests.compat.web import Participant

FRONTS: dict[str, dict[str, object]] = {"quart": {}}
"""What can stand before the operations, and the settings that choose it: every test runs over each."""


@pytest.fixture(scope="session", params=list(FRONTS))
def front(request: pytest.FixtureRequest) -> dict[str, object]:
    return FRONTS[request.param]


@pytest.fixture(scope="session")
def shared_server(front: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Generator[Dtm]:
    if foreign := foreign_server():
        yield foreign
        return
    with running_server(tmp_path_factory.mktemp("shared"), front) as dtm:
        yield dtm


@pytest.fixture(scope="session")
def clocked_server(front: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Generator[Dtm]:
    if foreign := foreign_server():
        if foreign.control is None:
            pytest.skip("the server at FLOWTX_COMPAT_URL has no test mode; name its control API: FLOWTX_COMPAT_CONTROL")
        yield foreign
        return
    with running_server(tmp_path_factory.mktemp("clocked"), front, is_test_mode=True) as dtm:
        yield dtm


@pytest.fixture
async def dtm(shared_server: Dtm) -> Dtm:
    """The shared server, its recovery running."""
    if shared_server.control is not None:
        await shared_server.control.ask("PUT", "/settings", {"recovery_enabled": True})
    return shared_server


@pytest.fixture
async def clocked(clocked_server: Dtm) -> Dtm:
    """An empty server that does nothing by itself when time passes: ``visit`` does."""
    assert clocked_server.control is not None
    await clocked_server.control.take_over()
    return clocked_server


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> type[Way]:
    """How the client speaks: over HTTP, JSON-RPC, or gRPC; make one with a server."""
    return WAYS[request.param]


@pytest.fixture
async def participant(nursery: trio.Nursery) -> Participant:
    participant = Participant()
    await nursery.start(participant.serve)
    return participant


@pytest.fixture
def grpc_participant() -> Generator[GrpcParticipant]:
    participant = GrpcParticipant()
    with participant.serving():
        yield participant


@pytest.fixture
async def open_dtm(
    nursery: trio.Nursery, tmp_path: Path, front: dict[str, object]
) -> AsyncGenerator[Callable[..., Awaitable[Dtm]]]:
    """Starts a server in this process with these settings changed; it stops when the test ends."""
    usual = Settings(db=f"sqlite:///{tmp_path}/flowtx.db", bind="127.0.0.1:0", grpc_bind="off", grace_s=1.0)
    stop = trio.Event()

    async def open_with(**changes: object) -> Dtm:
        if foreign := foreign_server():
            if changes or not foreign.control:
                pytest.skip("this test starts a server of its own; run it without FLOWTX_COMPAT_URL")
            await foreign.control.ask("POST", "/reset")
            return foreign
        settings = replace(usual, **{**front, **changes})  # type: ignore[arg-type]  # tests name settings rightly or fail at once
        url: str = await nursery.start(partial(serve, settings, shutdown=stop.wait))
        return Dtm(url=url)

    yield open_with
    stop.set()


@pytest.fixture
async def fresh_dtm(open_dtm: Callable[..., Awaitable[Dtm]]) -> Dtm:
    """A server that has no transaction but the test's."""
    return await open_dtm()
