"""The world of the interop tests: ``flowtx serve`` as a process of its own, and a scripted participant."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio

from tests.compat.dtm import Dtm
from tests.compat.web import Participant

ROOT = Path(__file__).parents[2]
STARTED_MAX_S = 20


@pytest.fixture
async def participant(nursery: trio.Nursery) -> Participant:
    participant = Participant()
    await nursery.start(participant.serve)
    return participant


@pytest.fixture
def environ() -> dict[str, str]:
    """Of a child process that imports flowtx from this checkout, with no setting of the machine's own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLOWTX_")}
    return {**clean, "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in (".", "dsl", "engine"))}


@pytest.fixture
async def dtm(tmp_path: Path, environ: dict[str, str]) -> AsyncGenerator[Dtm]:
    command = [sys.executable, "-m", "flowtx.cli.main", "serve", "--bind", "127.0.0.1:0", "--grpc-bind", "off"]
    command += ["--db", f"sqlite:///{tmp_path}/flowtx.db"]
    process = await trio.lowlevel.open_process(command, env=environ, stdout=subprocess.PIPE)
    try:
        yield Dtm(url=await _address_of(process))
        process.terminate()
        with trio.fail_after(STARTED_MAX_S):
            assert await process.wait() == 0
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def _address_of(process: trio.Process) -> str:
    """The address in the line that the server prints when it can be called."""
    assert process.stdout is not None
    said = b""
    with trio.fail_after(STARTED_MAX_S):
        while b"\n" not in said:
            part = await process.stdout.receive_some()
            assert part, f"flowtx serve ended with {await process.wait()}"
            said += part
    return next(word for word in said.decode().replace(",", " ").split() if word.startswith("http://"))
