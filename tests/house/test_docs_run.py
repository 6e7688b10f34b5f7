"""The Python in the docs runs: all blocks of a page after one another, as one program, under a clock that jumps.

The law of this file: a page with Python is run here unless it is named below with the reason why not. Nothing of the
set-up changes what a reader would see but the time it takes: threads are left out, because the clock would jump over
them, and the one node there is beats seldom, because days pass in a moment.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import flowtx
from flowtx.testing.world import LONE_NODE
from flowtx_dsl.lint.lint import lint
from flowtx_engine.runtime.clock import SystemClock

PYTHON = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)

RUN_ELSEWHERE = {
    "docs/how-to/barrier.md": "needs databases: tests/flowtx/client/test_howto.py",
    "docs/how-to/barrier-redis.md": "needs a Redis: tests/flowtx/client/test_howto.py",
    "docs/how-to/dtm-client.md": "needs a server: tests/flowtx/client/test_howto.py",
    "docs/how-to/message-queues.md": "needs a broker: tests/flowtx/client/test_howto.py",
    "docs/how-to/participants.md": "needs web frameworks and a server: tests/flowtx/client/test_howto.py",
    "docs/how-to/test-mode.md": "needs a service to test: tests/flowtx/testing/test_howto.py",
}
"""Pages whose Python is run by another test."""

REAL_TIME = {
    "docs/how-to/grpc-and-json-rpc.md": "speaks to participants over sockets, and a clock that jumps would not wait",
}
"""Pages whose Python is run here, in the time that it takes."""


def code_of(text: str) -> str:
    """All Python of a page."""
    return "\n".join(found["code"] for found in PYTHON.finditer(text))


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on ``trio.run`` jumps over every wait, and the engine's clock goes with it, from one run to the next."""
    run: Callable[..., Any] = trio.run
    passed_at = time.time()

    def run_jumping(main: Callable[..., Any], *args: object, **options: Any) -> Any:
        nonlocal passed_at
        clock = options.setdefault("clock", trio.testing.MockClock(autojump_threshold=0))
        try:
            return run(main, *args, **options)
        finally:
            passed_at += clock.current_time()

    def now_at(_clock: SystemClock) -> float:
        return passed_at + trio.current_time()

    async def run_inline(fn: Callable[..., Any], *args: object, **_options: object) -> Any:
        await trio.lowlevel.checkpoint()
        return fn(*args)

    monkeypatch.setattr(trio, "run", run_jumping)
    monkeypatch.setattr(trio.to_thread, "run_sync", run_inline)
    monkeypatch.setattr(flowtx, "open", functools.partial(flowtx.open, limits=LONE_NODE))
    monkeypatch.setattr(SystemClock, "now_at", now_at)


def run_page(page: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a page as a program, then the tests that it has defined."""
    # A module that can be imported, because the journal names exceptions by module.
    module = types.ModuleType("documented")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code_of(text), page, "exec", dont_inherit=True), vars(module))
    for name, test in list(vars(module).items()):
        if name.startswith("test_"):
            trio.run(test) if inspect.iscoroutinefunction(test) else test()


def pages_with_python() -> list[str]:
    root = Path(__file__).parents[2]
    pages = [root / "README.md", *root.glob("docs/**/*.md")]
    return sorted(str(page.relative_to(root)) for page in pages if code_of(page.read_text()))


@pytest.mark.parametrize("page", [page for page in pages_with_python() if page not in {*RUN_ELSEWHERE, *REAL_TIME}])
def test_the_python_of_a_page_runs(
    docs: Mapping[str, str], jumping: None, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page, docs[page], monkeypatch)


@pytest.mark.parametrize("page", REAL_TIME)
def test_the_python_of_a_page_runs_in_real_time(
    docs: Mapping[str, str], page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page, docs[page], monkeypatch)


@pytest.mark.parametrize("page", pages_with_python())
def test_the_workflows_of_a_page_pass_the_linter(docs: Mapping[str, str], page: str) -> None:
    assert [finding.message for finding in lint(code_of(docs[page]), page)] == []


def test_pages_that_are_not_run_here_have_python_and_a_test_of_their_own(root: Path) -> None:
    assert set(pages_with_python()) >= {*RUN_ELSEWHERE, *REAL_TIME}
    for page, reason in RUN_ELSEWHERE.items():
        test = reason.rpartition(" ")[2]
        assert Path(page).name in (root / test).read_text(), f"{test} does not run {page}"


def test_every_page_of_the_tutorial_and_about_the_language_has_python(docs: Mapping[str, str]) -> None:
    tutorial = {page for page in docs if page.startswith("docs/tutorial/")}
    assert len(tutorial) >= 4
    assert tutorial <= set(pages_with_python())
