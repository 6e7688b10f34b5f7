"""``flowtx db import-dtm`` as a person or a program calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy import NullPool, create_engine

from flowtx.dtm.takeover.records import DtmTransaction
from flowtx_engine.journal.sql import open_sqlite
from tests.flowtx.dtm.takeover.stores import fill_sql, msg, saga, tcc

Call = Callable[..., Result]
Dtm = Callable[..., str]


@pytest.fixture
def dtm(folder: Path) -> Dtm:
    """A store with these transactions and a topic, as ``--from`` names it."""

    def write(*transactions: DtmTransaction) -> str:
        url = f"sqlite:///{folder}/dtm.db"
        fill_sql(create_engine(url, poolclass=NullPool), transactions, {"news": '[{"url":"http://p/a"}]'})
        return url

    return write


def test_what_was_imported_is_told_in_a_table_and_in_numbers(call: Call, dtm: Dtm) -> None:
    url = dtm(saga("submitted", "P S P P"), tcc("failed", "S P"))
    first = call("db", "import-dtm", "--from", url)
    assert first.exit_code == 0, first.output
    assert [" ".join(line.split()) for line in first.output.splitlines() if "imported" in line] == [
        "saga-submitted saga submitted imported",
        "news topic imported",
        "transactions: 1 imported, 0 skipped, 0 refused; 1 that DTM has finished stay in its store",
    ]
    again = json.loads(call("db", "import-dtm", "--json", FLOWTX_DTM_STORE=url).output)
    assert again["counts"] == {"imported": 0, "skipped": 1, "refused": 0}
    assert again["topics"] == [{"topic": "news", "what": "skipped", "reason": "it is there already"}]
    assert call("list").output.count("saga-submitted") == 1


def test_what_is_left_behind_is_told_by_the_exit_code_too(call: Call, dtm: Dtm) -> None:
    found = call("db", "import-dtm", "--from", dtm(msg("submitted", "P S"), saga("submitted", "P P")), "--json")
    assert found.exit_code == 1
    told = {one["gid"]: one["what"] for one in json.loads(found.output)["transactions"]}
    assert told == {"msg-submitted": "refused", "saga-submitted": "imported"}


def test_a_dry_run_does_not_even_make_a_database(call: Call, dtm: Dtm, folder: Path) -> None:
    url = dtm(saga("submitted", "P P"))
    before = sorted(folder.iterdir())
    found = call("db", "import-dtm", "--from", url, "--dry-run")
    assert (found.exit_code, found.output.splitlines()[-1]) == (0, "This was a dry run: nothing was written.")
    assert sorted(folder.iterdir()) == before
    assert call("db", "import-dtm", "--from", url).exit_code == 0
    assert "skipped" in call("db", "import-dtm", "--from", url, "--dry-run").output


def test_dtms_own_configuration_says_what_transactions_leave_open(call: Call, dtm: Dtm, folder: Path) -> None:
    (folder / "dtm.yml").write_text("RequestTimeout: 17\nRetryInterval: 20\nTimeoutToFail: 50\n")
    db = f"sqlite:///{folder}/other.db"
    found = call("db", "import-dtm", "--from", dtm(tcc("prepared", "P P")), "--config", "dtm.yml", "--db", db)
    assert found.exit_code == 0, found.output
    with closing(open_sqlite(db)) as store:
        row = store.transaction("tcc-prepared")
    assert row is not None
    (order,) = json.loads(row.input)
    assert (order["request_timeout_s"], order["retry_interval_s"], order["timeout_s"]) == (17.0, 20.0, 50)
    assert row.wake_at == row.created_at + 50


def test_no_password_is_printed(call: Call, folder: Path) -> None:
    for url in ("mysql://dtm:secret@127.0.0.1:1/dtm", "redis://:secret@127.0.0.1:1/0", "boltdb://u:secret@dtm.bolt"):
        found = call("db", "import-dtm", "--from", url)
        assert found.exit_code == 1
        assert "flowtx: " in found.output
        assert "secret" not in found.output


def test_a_journal_in_memory_is_no_place_to_import_to(call: Call, dtm: Dtm) -> None:
    found = call("db", "import-dtm", "--from", dtm(), "--db", "memory://")
    assert found.exit_code == 2
    assert "memory:// is gone with this command" in found.output
