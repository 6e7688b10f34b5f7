"""A real ``flowtx serve`` in a process of its own, for tests that do it harm."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio

ROOT = Path(__file__).parents[2]
READY_MAX_S = 30


RunServer = Callable[..., AbstractAsyncContextManager[tuple[trio.Process, str]]]


@asynccontextmanager
async def _running_server(db: Path, log: Path, *, shell_before: str = "") -> AsyncGenerator[tuple[trio.Process, str]]:
    serve = [sys.executable, "-m", "flowtx.cli.main", "serve", "--db", f"sqlite:///{db}"]
    serve += ["--bind", "127.0.0.1:0", "--grpc-bind", "off"]
    command = ["sh", "-c", f"{shell_before}exec {shlex.join(serve)}"]
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in (".", "dsl", "engine")),
        "FLOWTX_HEARTBEAT_S": "0.5",
    }
    with log.open("ab") as stderr:
        process = await trio.lowlevel.open_process(
            command, stdout=subprocess.PIPE, stderr=stderr, env=environ, cwd=db.parent
        )
    try:
        assert process.stdout is not None
        line = b""
        with trio.fail_after(READY_MAX_S):
            while not (found := re.search(rb"(http://\S+?),? ", line)):
                more = await process.stdout.receive_some()
                assert more, f"the server ended before it was ready; see {log}"
                line += more
        yield process, found[1].decode()
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@pytest.fixture
def run_server() -> RunServer:
    """Start ``flowtx serve`` on a SQLite file: its process and base URL once it is ready; killed on leaving.

    Takes the file and a log file; ``shell_before`` is shell code for its process to run first, such as a ulimit.
    """
    return _running_server
