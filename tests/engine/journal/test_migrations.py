"""The schema's versions: upgrades, refusals, and two processes at once."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, make_url, text
from sqlalchemy.schema import CreateIndex, CreateTable

from flowtx.testing.journal_writes import begin, end, step
from flowtx_engine.journal.errors import SchemaError
from flowtx_engine.journal.migrations import MIGRATIONS, Migration, check_version, newest_version, upgrade, version_of
from flowtx_engine.journal.records import Filter, NewPlace, RowChange
from flowtx_engine.journal.schema import metadata
from flowtx_engine.journal.sql import Upgrade, open_sqlite, upgrade_store
from flowtx_engine.journal.sqlite_file import sqlite_file
from flowtx_engine.journal.whole import WholeStore

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
"""For children: they find what this process finds."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def run(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def upgraded(path: Path, migrations: Sequence[Migration]) -> tuple[int | None, int]:
    file = sqlite_file(f"sqlite:///{path}", busy_timeout_s=5)
    file.create()
    with file.writer().connect() as connection, connection.begin():
        return upgrade(connection, file.name, migrations)


def add_colour(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE flowtx_kv ADD COLUMN colour TEXT"))


def add_shape(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE flowtx_kv ADD COLUMN shape TEXT"))


def test_a_new_file_gets_the_whole_schema_and_the_newest_version(path: Path) -> None:
    assert upgrade_store(f"sqlite:///{path}") == Upgrade(before=None, after=newest_version())
    assert upgrade_store(f"sqlite:///{path}") == Upgrade(before=newest_version(), after=newest_version())
    with sqlite_file(f"sqlite:///{path}", busy_timeout_s=5).reader().connect() as connection:
        assert set(inspect(connection).get_table_names()) == set(metadata.tables)
        check_version(connection, "it")


def test_an_older_schema_goes_through_the_steps_it_has_not_seen_and_keeps_its_rows(path: Path) -> None:
    with closing(open_sqlite(f"sqlite:///{path}")) as store:
        store.commit([begin("g")])
    newest = newest_version()
    assert upgraded(path, [*MIGRATIONS, add_colour]) == (newest, newest + 1)
    assert upgraded(path, [*MIGRATIONS, add_colour, add_shape]) == (newest + 1, newest + 2)
    with sqlite_file(f"sqlite:///{path}", busy_timeout_s=5).reader().connect() as connection:
        assert version_of(connection, "it") == newest + 2
        columns = {column["name"] for column in inspect(connection).get_columns("flowtx_kv")}
        assert {"colour", "shape"} <= columns
        assert connection.scalar(text("SELECT gid FROM flowtx_transactions")) == "g"


WITHOUT_PIECES = (
    "DROP TABLE flowtx_pieces",
    "DROP TABLE flowtx_payloads",
    "CREATE TABLE flowtx_signals_seen (gid TEXT, key TEXT, at DOUBLE)",
)
WITHOUT_RETENTION = (
    *WITHOUT_PIECES,
    "DROP INDEX flowtx_transactions_finished",
    "ALTER TABLE flowtx_transactions DROP COLUMN begun_by",
)
WITHOUT_DECISIONS = (
    *WITHOUT_RETENTION,
    "DROP INDEX flowtx_transactions_undecided",
    "ALTER TABLE flowtx_transactions DROP COLUMN needs_decision",
)


def test_the_second_schema_learns_of_decisions_and_keeps_its_rows(path: Path) -> None:
    with closing(open_sqlite(f"sqlite:///{path}")) as store:
        store.commit([begin("g")])
    run(path, *WITHOUT_DECISIONS, "UPDATE flowtx_schema_version SET version = 2")
    assert upgrade_store(f"sqlite:///{path}") == Upgrade(before=2, after=newest_version())
    with closing(open_sqlite(f"sqlite:///{path}", migrate=False)) as store:
        found = store.transaction("g")
        assert found is not None
        assert found.needs_decision is False
        store.commit([step("g", 1, RowChange(updated_at=2.0, needs_decision=True))])
        assert [row.gid for row in store.transactions(Filter(needs_decision=True), before_id=None, limit=9)] == ["g"]


def test_the_third_schema_learns_of_retention_and_keeps_its_rows(path: Path) -> None:
    with closing(open_sqlite(f"sqlite:///{path}")) as store:
        store.commit([begin("g"), begin("h"), end("h", 1)])
    run(path, *WITHOUT_RETENTION, "UPDATE flowtx_schema_version SET version = 3")
    assert upgrade_store(f"sqlite:///{path}") == Upgrade(before=3, after=newest_version())
    with closing(open_sqlite(f"sqlite:///{path}", migrate=False)) as store:
        assert [row.begun_by for row in store.transactions(Filter(), before_id=None, limit=9)] == ["", ""]
        assert store.prune(1e12, 9) == 1
        assert store.transaction("g") is not None


def test_the_fourth_schema_learns_of_pieces_and_forgets_what_nothing_used(path: Path) -> None:
    with closing(open_sqlite(f"sqlite:///{path}")) as store:
        store.commit([begin("g")])
    run(path, *WITHOUT_PIECES, "UPDATE flowtx_schema_version SET version = 4")
    assert upgrade_store(f"sqlite:///{path}") == Upgrade(before=4, after=newest_version())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'flowtx_signals_seen'").fetchall() == []
    with closing(open_sqlite(f"sqlite:///{path}", migrate=False)) as store:
        assert store.transaction("g") is not None
        whole = WholeStore(store, piece_bytes=2)
        assert whole.commit([step("g", 1, data=b"12345")]) == [None]
        assert [row.data for row in whole.history("g", 1)] == [b"12345"]


def test_the_first_schema_gets_limits_and_schedules_and_keeps_its_rows(path: Path) -> None:
    with closing(open_sqlite(f"sqlite:///{path}")) as store:
        store.commit([begin("g")])
    added = ["places", "schedules", "loaded"]
    run(path, *(f"DROP TABLE flowtx_{name}" for name in added), *WITHOUT_DECISIONS)
    run(path, "UPDATE flowtx_schema_version SET version = 1")
    assert upgrade_store(f"sqlite:///{path}") == Upgrade(before=1, after=newest_version())
    with closing(open_sqlite(f"sqlite:///{path}", migrate=False)) as store:
        store.commit([begin("h", place=NewPlace(key="k", due_at=0.0))])
        assert dict(store.waiting_places(["g", "h"])) == {"h": "k"}
        assert store.schedules() == []
        assert store.loaded(0.0) == set()


def test_a_step_that_fails_leaves_the_schema_as_it_was(path: Path) -> None:
    def fails(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE flowtx_nothing ADD COLUMN x TEXT"))

    upgraded(path, [])
    with pytest.raises(Exception, match="flowtx_nothing"):
        upgraded(path, [add_colour, fails])
    assert upgraded(path, [add_colour]) == (1, 2)


def test_a_newer_schema_is_refused_in_words_and_left_alone(path: Path) -> None:
    upgraded(path, [*MIGRATIONS, add_colour])
    newest = newest_version()
    for opening in (open_sqlite, upgrade_store):
        with pytest.raises(SchemaError) as caught:
            opening(f"sqlite:///{path}")
        assert str(caught.value) == (
            f"the database file {path} has schema version {newest + 1}; this flowtx knows versions up to {newest}\n"
            "  -> Use the flowtx that upgraded this database, or a newer one. There is no way back."
        )


def test_an_older_schema_is_told_apart_when_nothing_may_be_changed(path: Path) -> None:
    upgraded(path, [])
    message = r"has schema version 1; this flowtx needs version 2\n.*flowtx db upgrade"
    reader = sqlite_file(f"sqlite:///{path}", busy_timeout_s=5).reader()
    with reader.connect() as connection, pytest.raises(SchemaError, match=message):
        check_version(connection, "it", [add_colour])


def test_a_file_without_our_tables_is_told_apart_when_nothing_may_be_changed(path: Path) -> None:
    run(path, "CREATE TABLE account (owner TEXT, cents INTEGER)")
    with pytest.raises(SchemaError, match="has no flowtx tables"):
        open_sqlite(f"sqlite:///{path}", migrate=False)


def test_our_tables_live_beside_those_of_the_user(path: Path) -> None:
    run(path, "CREATE TABLE transactions (id INTEGER, cents INTEGER)", "INSERT INTO transactions VALUES (1, 30)")
    with closing(open_sqlite(f"sqlite:///{path}")) as store:
        store.commit([begin("g"), step("g", 1)])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT cents FROM transactions").fetchall() == [(30,)]


@pytest.mark.parametrize(
    ("statements", "table"),
    [
        (["CREATE TABLE flowtx_journal (x TEXT)"], "flowtx_journal"),
        (["CREATE TABLE flowtx_schema_version (x TEXT)"], "flowtx_schema_version"),
        (["CREATE TABLE flowtx_schema_version (version INTEGER)"], "flowtx_schema_version"),
    ],
)
def test_a_table_of_our_name_that_is_not_ours_is_refused(path: Path, statements: list[str], table: str) -> None:
    run(path, *statements)
    with pytest.raises(SchemaError, match=f"has a table {table} that flowtx did not make\n  -> Use another database"):
        open_sqlite(f"sqlite:///{path}")


@pytest.mark.parametrize("attempt", range(5))
def test_threads_that_open_a_new_file_at_once_do_not_collide(path: Path, attempt: int) -> None:
    del attempt  # a race that is lost now and then is looked for more than once
    barrier = threading.Barrier(4)

    def use(gid: str) -> list[Exception | None]:
        barrier.wait()
        with closing(open_sqlite(f"sqlite:///{path}")) as store:
            return store.commit([begin(gid)])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(use, "abcd")) == [[None]] * 4
    with closing(open_sqlite(f"sqlite:///{path}", create=False, migrate=False)) as store:
        assert store.describe().counts == {"submitted": 4}


def test_processes_that_open_a_new_file_at_once_do_not_collide(path: Path) -> None:
    """Each says when it is ready to open; then all are let go by closing what they read from."""
    script = f"""
import sys
from flowtx_engine.journal.sql import upgrade_store
print("ready", flush=True)
sys.stdin.read()
upgrade_store("sqlite:///{path}")
"""
    children = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT)
        for _ in range(3)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
    for child in children:
        child.communicate(b"")
    assert [child.returncode for child in children] == [0, 0, 0]
    with closing(open_sqlite(f"sqlite:///{path}", migrate=False)) as store:
        assert store.describe().schema_version == newest_version()


@pytest.mark.parametrize("name", ["mysql+pymysql", "postgresql"])
def test_the_schema_can_be_written_for_the_other_databases(name: str) -> None:
    """Gids compare byte by byte with their blanks, payloads have no short type, and no instant is a FLOAT."""
    dialect = make_url(f"{name}://").get_dialect()()
    is_mysql = name.startswith("mysql")
    for table in metadata.sorted_tables:
        ddl = str(CreateTable(table).compile(dialect=dialect))
        assert "FLOAT" not in ddl
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect)).startswith("CREATE INDEX")
        if is_mysql:
            assert " BLOB" not in ddl
            assert " TEXT" not in ddl
        if is_mysql and "gid" in table.columns:
            assert "gid VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin" in ddl
