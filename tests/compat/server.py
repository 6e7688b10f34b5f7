"""``flowtx serve`` as a process of its own, for the compatibility tests: started once, asked by many tests.

The law of this file: ports are the system's, what is started is ended, and a server that ends badly fails the test.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.compat.control import Control
from tests.compat.dtm import Dtm

ROOT = Path(__file__).parents[2]
READY_MAX_S = 30
ENDED_MAX_S = 20
NOT_FORESEEN = "nobody foresaw"
"""What the log says when the server met an error that it has no words for."""


def foreign_server() -> Dtm | None:
    """The running server that the environment names: FLOWTX_COMPAT_URL, FLOWTX_COMPAT_GRPC, FLOWTX_COMPAT_CONTROL."""
    if not (url := os.environ.get("FLOWTX_COMPAT_URL")):
        return None
    control = os.environ.get("FLOWTX_COMPAT_CONTROL")
    grpc = os.environ.get("FLOWTX_COMPAT_GRPC", "")
    return Dtm(url=url, grpc=grpc, control=Control(url=control) if control else None)


@contextmanager
def running_server(folder: Path, settings: Mapping[str, object], *, is_test_mode: bool = False) -> Generator[Dtm]:
    """A server on a database in ``folder`` with these settings changed; it is asked to stop on leaving."""
    command = [sys.executable, "-m", "flowtx.cli.main", "serve", "--db", f"sqlite:///{folder}/flowtx.db"]
    command += ["--bind", "127.0.0.1:0", "--grpc-bind", "127.0.0.1:0"]
    for name, value in settings.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    if is_test_mode:
        command += ["--test-mode", "--test-port", "0"]
    log = folder / "log"
    with log.open("ab") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=clean_environ(), bufsize=0)
    try:
        control = Control(url=_word(_next_line(process, log), "http://")) if is_test_mode else None
        said = _next_line(process, log)
        grpc = _word(said, "grpc://").removeprefix("grpc://")
        yield Dtm(url=_word(said, "http://"), grpc=grpc, control=control, pid=process.pid)
        process.terminate()
        assert process.wait(ENDED_MAX_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert NOT_FORESEEN not in log.read_text(), log.read_text()


def clean_environ() -> dict[str, str]:
    """For a child process that imports flowtx from this checkout, with no setting of the machine's own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLOWTX_")}
    return {**clean, "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in (".", "dsl", "engine"))}


def _next_line(process: subprocess.Popen[bytes], log: Path) -> str:
    """A line that the server prints: in test mode where its control API is, then where it can be called."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], READY_MAX_S)
    assert ready, f"the server said nothing in {READY_MAX_S} s; its log: {log.read_text()}"
    said = process.stdout.readline().decode()
    assert said, f"the server ended with {process.wait()}; its log: {log.read_text()}"
    return said


def _word(said: str, start: str) -> str:
    return next(word for word in said.replace(",", " ").split() if word.startswith(start))
