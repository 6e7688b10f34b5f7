"""The how-to pages for services that take part say what is so: their code runs, one block after the other."""

from __future__ import annotations

import functools
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.brokers.redis_side import RedisSide
from tests.flowtx.client.genuine import GenuineDtm, Said

FOLDER = Path(__file__).parents[3] / "docs" / "how-to"


def run(page: str, *, least: int = 1) -> dict[str, object]:
    """Run a page's Python; returns what it defined."""
    path = FOLDER / page
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= least
    module = ModuleType("documented")
    sys.modules["documented"] = module  # where dataclasses look up the annotations of a page
    try:
        for block in blocks:
            exec(compile(block, str(path), "exec"), vars(module))
    finally:
        del sys.modules["documented"]
    return vars(module)


def test_the_code_of_the_barrier_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run("barrier.md", least=4)
    names["engine"].dispose()  # type: ignore[attr-defined]  # the page's SQLAlchemy engine


def test_the_code_of_the_redis_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    url = os.environ.get("FLOWTX_TEST_REDIS_URL")
    if url is None:
        pytest.skip(
            "no Redis: set FLOWTX_TEST_REDIS_URL to an URL like redis://localhost/0 (apt-get install redis-server)"
        )
    monkeypatch.setenv("REDIS_URL", url)
    names = run("barrier-redis.md")
    assert names["answer"] == 409
    server = names["server"]
    server.delete("alice", *server.scan_iter("g-redis-*"))  # type: ignore[attr-defined]  # the page's connection
    server.close()  # type: ignore[attr-defined]  # the page's connection


def test_the_code_of_the_queues_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", RedisSide.shared().url)
    names = run("message-queues.md", least=2)
    server = names["redis"]
    server.delete("orders", *server.scan_iter("seen:o-1*"))  # type: ignore[attr-defined]  # the page's connection
    server.close()  # type: ignore[attr-defined]  # the page's connection


def test_the_code_of_the_participants_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run("participants.md", least=7)
    names["engine"].dispose()  # type: ignore[attr-defined]  # the page's SQLAlchemy engine


def test_the_code_of_the_client_page_runs(dtm_server: GenuineDtm, monkeypatch: pytest.MonkeyPatch) -> None:
    def bank(name: str, query: dict[str, str], body: bytes) -> Said:
        return 200, b'{"ok": "%s"}' % name.encode()

    for name in ("out", "out-back", "in", "in-back", "xa-out", "xa-in"):
        dtm_server.participants[f"/{name}"] = functools.partial(bank, name)
    monkeypatch.setenv("DTM_URL", dtm_server.url)
    monkeypatch.setenv("BANK_URL", dtm_server.url)
    run("dtm-client.md", least=7)
    # All but the xa transaction, whose participants here register nothing, called somebody to the end.
    ended = [(each.fields["trans_type"], each.status) for each in dtm_server.transactions.values()]
    assert ended == [(kind, "succeed") for kind in ("saga", "tcc", "msg", "msg", "xa", "workflow")]
