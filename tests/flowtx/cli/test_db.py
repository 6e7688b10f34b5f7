"""``flowtx db``: the commands as a person or a program calls them."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

import flowtx
from flowtx.cli.db import bytes_in_words, sentence
from flowtx.cli.main import main
from flowtx.testing.journal_writes import begin, end
from flowtx_engine.journal.migrations import newest_version
from flowtx_engine.journal.pieces import PIECE_BYTES
from flowtx_engine.journal.records import Filter
from flowtx_engine.journal.sql import Upgrade, open_sqlite

NEWEST = newest_version()
LARGE = "x" * (2 * PIECE_BYTES)


@flowtx.workflow
async def repeats(tx: flowtx.Tx, text: str) -> str:
    return text


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'bank.db'}"


def call(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, ["db", *arguments], env=environment)


def test_upgrade_creates_a_database_and_then_finds_nothing_to_do(url: str) -> None:
    first = call("upgrade", "--db", url)
    assert (first.exit_code, first.output) == (0, f"{url} has a new schema, version {NEWEST}.\n")
    second = call("upgrade", FLOWTX_DB=url)
    assert second.exit_code == 0
    assert second.output == f"{url} has schema version {NEWEST} already; there was nothing to do.\n"


def test_upgrade_tells_programs_the_versions(url: str) -> None:
    found = json.loads(call("upgrade", "--json", "--db", url).output)
    assert found == {"url": url, "version_before": None, "version_after": NEWEST}


def test_an_upgrade_over_versions_is_told() -> None:
    assert sentence("it", Upgrade(before=2, after=5)) == "it was upgraded from schema version 2 to 5."


def test_show_counts_transactions_by_status(url: str) -> None:
    with closing(open_sqlite(url)) as store:
        store.commit([begin("a"), begin("b"), begin("c"), end("c", 1, status="failed")])
    result = call("show", FLOWTX_DB=url)
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    for expected in (["database", url], ["dialect", "sqlite"], ["schema", "version", str(NEWEST)], ["submitted", "2"],
                     ["failed", "1"], ["succeed", "0"]):  # fmt: skip
        assert expected in lines
    found = json.loads(call("show", "--db", url, "--json").output)
    assert found["counts"] == {"prepared": 0, "submitted": 2, "aborting": 0, "succeed": 0, "failed": 1}
    assert (found["url"], found["dialect"], found["schema_version"]) == (url, "sqlite", NEWEST)
    assert found["size_bytes"] > 4096


def test_the_default_is_a_file_in_this_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOWTX_DB", raising=False)
    assert call("upgrade").exit_code == 0
    assert (tmp_path / "flowtx.db").exists()


def test_show_makes_no_database_where_there_is_none(url: str, tmp_path: Path) -> None:
    result = call("show", "--db", url)
    assert result.exit_code == 3
    assert f"there is no database file {tmp_path / 'bank.db'}" in result.stderr
    assert "-> Check the URL, or create it: flowtx db upgrade." in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_newer_schema_is_told_and_left_alone(url: str, tmp_path: Path) -> None:
    call("upgrade", "--db", url)
    with closing(sqlite3.connect(tmp_path / "bank.db")) as connection:
        connection.execute("UPDATE flowtx_schema_version SET version = 99")
        connection.commit()
    for command in ("show", "upgrade"):
        result = call(command, "--db", url)
        assert result.exit_code == 3
        assert f"has schema version 99; this flowtx knows versions up to {NEWEST}" in result.stderr
        assert "Traceback" not in result.output


def test_a_database_that_is_not_supported_is_told() -> None:
    result = call("upgrade", "--db", "postgresql://host/bank")
    assert result.exit_code == 3
    assert "journals in postgresql are not supported yet" in result.stderr


def test_prune_deletes_what_ended_long_ago_and_says_how_much(url: str) -> None:
    now_at = time.time()
    with closing(open_sqlite(url)) as store:
        store.commit([*(begin(gid) for gid in ("old", "older", "new", "runs"))])
        store.commit([end("old", 1, at=now_at - 3600), end("older", 1, at=now_at - 7200), end("new", 1, at=now_at)])
    first = call("prune", "--db", url, "--older-than", "90min")
    assert (first.exit_code, first.output) == (0, "1 transaction that had ended more than 90min ago: deleted.\n")
    second = json.loads(call("prune", "--db", url, "--older-than", "10min", "--json").output)
    assert (second["url"], second["deleted_count"]) == (url, 1)
    assert second["ended_before_at"] == pytest.approx(now_at - 600, abs=60)
    third = call("prune", FLOWTX_DB=url)
    assert (third.exit_code, third.output) == (0, "0 transactions that had ended more than 7d ago: deleted.\n")
    with closing(open_sqlite(url)) as store:
        assert [row.gid for row in store.transactions(Filter(), before_id=None, limit=9)] == ["runs", "new"]


def test_prune_leaves_no_pieces_of_what_it_deletes_and_all_of_the_rest(url: str) -> None:
    async def run_both() -> None:
        async with flowtx.open(url) as engine:
            await engine.run(repeats, LARGE, gid="g-1")
            await engine.start(repeats, LARGE, gid="g-2", delay_s=3600)

    trio.run(run_both)
    assert call("prune", "--db", url, "--older-than", "0s").output.startswith("1 transaction")
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        assert connection.execute("SELECT gid FROM flowtx_transactions").fetchall() == [("g-2",)]
        assert connection.execute("SELECT gid, field, state FROM flowtx_payloads").fetchall() == [
            ("g-2", "input", "counts")
        ]
        assert (
            connection.execute("SELECT DISTINCT payload_id FROM flowtx_pieces").fetchall()
            == connection.execute("SELECT id FROM flowtx_payloads").fetchall()
        )


def test_prune_refuses_a_length_that_is_none_and_deletes_nothing(url: str) -> None:
    with closing(open_sqlite(url)) as store:
        store.commit([begin("g"), end("g", 1)])
    result = call("prune", "--db", url, "--older-than", "a week")
    assert result.exit_code == 2
    assert "--older-than a week is no length of time\n  -> Write 90s, 10min, 2h or 3d." in result.stderr
    with closing(open_sqlite(url)) as store:
        assert store.transaction("g") is not None


@pytest.mark.parametrize(
    ("count", "words"),
    [(512, "0.5 KiB"), (1536, "1.5 KiB"), (5 * 2**20, "5.0 MiB"), (3 * 2**30, "3.0 GiB"), (2**41, "2.0 TiB")],
)
def test_sizes_are_short(count: int, words: str) -> None:
    assert bytes_in_words(count) == words
