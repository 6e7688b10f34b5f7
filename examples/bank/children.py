"""Real processes for the demo: started, waited for, killed, and never left behind.

The law of this file: whoever leaves the ``with`` block, by whatever way, leaves nothing running.
"""

import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

READY_WITHIN_S = 20.0
STOPPED_WITHIN_S = 5.0
ROOT = Path(__file__).parents[2]


class ChildFailed(Exception):
    """A process did not do what it was started for; the text ends with what it said."""


class Child:
    """One running process and the address it announced."""

    def __init__(self, name: str, process: subprocess.Popen[str], address: str) -> None:
        self.name = name
        self.address = address
        self._process = process

    def kill(self) -> None:
        """SIGKILL: it gets no chance to say or write anything."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM, and SIGKILL for one that does not listen; returns the exit code."""
        self._process.terminate()
        try:
            return self._process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode

    @property
    def id(self) -> int:
        """The process's id."""
        return self._process.pid


class Children:
    """Starts processes and ends them all when the block is left. Their stderr goes to files in ``folder``."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        # The examples are not installed; a child finds them as this process does.
        paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        self._env = {**os.environ, **env, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def start(self, name: str, *arguments: str) -> Child:
        """Start ``python -m ...`` and wait for the line that says where it listens; raises ``ChildFailed``."""
        said = self._folder / f"{name.replace(' ', '-')}.log"
        with said.open("a") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments], env=self._env, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        self._running.append(process)
        line = _first_line_of(process)
        address = re.search(r"http://\S+:\d+", line)
        if address is None:
            problem = f"ended with code {process.poll()}" if process.poll() is not None else "is not ready"
            raise ChildFailed(f"{name} {problem} (within {READY_WITHIN_S:g} s); it said:\n{line}{said.read_text()}")
        return Child(name, process, address[0])

    def run(self, *arguments: str) -> int:
        """Run ``python -m ...`` to its end, in front of the reader; returns the exit code."""
        sys.stdout.flush()
        return subprocess.run([sys.executable, "-m", *arguments], env=self._env, check=False, timeout=60).returncode


def _first_line_of(process: subprocess.Popen[str]) -> str:
    """What a process says first; empty when it says nothing in time or ends."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if selector.select(READY_WITHIN_S) else ""


def wait_until(what: str, holds: Callable[[], bool], *, within_s: float = 30.0) -> None:
    """Wait for a condition; raises ``ChildFailed`` naming it when it does not come true in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise ChildFailed(f"waited {within_s:g} s in vain until {what}")
        time.sleep(0.02)
