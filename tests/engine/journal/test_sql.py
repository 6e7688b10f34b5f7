"""The SQL journal: what a batch costs, what cannot be stored, and that questions are answered from indexes."""

import itertools
import math
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from sqlalchemy import ClauseElement, Engine, event
from sqlalchemy.dialects import sqlite

from flowtx.testing.journal_writes import WORKFLOW, begin, end, step
from flowtx_engine.journal import sql_statements as statements
from flowtx_engine.journal.errors import ConflictError, UnstorableWrite
from flowtx_engine.journal.migrations import newest_version
from flowtx_engine.journal.records import Filter, JournalRow, NewTransaction, RowChange, Transaction, Write
from flowtx_engine.journal.schema import transactions
from flowtx_engine.journal.sql import SqlStore, open_sqlite
from flowtx_engine.journal.sql_batch import batch_of
from flowtx_engine.journal.sqlite_file import sqlite_file

Watching = Callable[[], AbstractContextManager[list[str]]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def store(path: Path) -> Generator[SqlStore]:
    with closing(open_sqlite(f"sqlite:///{path}")) as opened:
        yield opened


# --- cost ---


def test_a_batch_of_everything_is_one_transaction_of_four_statements(store: SqlStore, watch: Watching) -> None:
    """BEGIN is one of them; creations, steps and ends of 300 transactions, and every kind of change."""
    store.commit([begin(f"g{number}") for number in range(300)])
    changes = [
        RowChange(updated_at=1.0, status="aborting"),
        RowChange(updated_at=1.0, wake_at=5.0, attempt_count=2, last_error="no"),
        RowChange(updated_at=1.0, owner="", wake_at=None),
        RowChange(updated_at=1.0, nudged_at=3.0),
    ]
    with watch() as seen:
        results = store.commit(
            [
                *(begin(f"new{number}") for number in range(100)),
                *(step(f"g{number}", 1, changes[number % 4]) for number in range(100)),
                *(step(f"g{number}", 1, row_count=2) for number in range(100, 200)),
                *(end(f"g{number}", 1) for number in range(200, 300)),
            ]
        )
    assert results == [None] * 400
    assert seen == [
        "BEGIN IMMEDIATE",
        "INSERT INTO flowtx_transactions",
        "INSERT INTO flowtx_journal",
        "UPDATE flowtx_transactions AS",
        "COMMIT",
    ]


def test_steps_alone_write_the_journal_and_nothing_else(store: SqlStore, watch: Watching) -> None:
    store.commit([begin("g"), begin("h")])
    with watch() as seen:
        store.commit([step("g", 1), step("h", 1)])
    assert seen == ["BEGIN IMMEDIATE", "INSERT INTO flowtx_journal", "COMMIT"]


def test_a_conflict_in_a_batch_costs_one_more_transaction_and_few_statements(store: SqlStore, watch: Watching) -> None:
    store.commit([begin(f"g{number}") for number in range(64)])
    batch = [step(f"g{number}", 1) for number in range(64)]
    batch[40] = step("g40", 0 + 3)
    with watch() as seen:
        results = store.commit(batch)
    assert [number for number, result in enumerate(results) if result is not None] == [40]
    assert seen.count("COMMIT") == 1
    assert seen.count("BEGIN IMMEDIATE") == 2
    assert len(seen) < 60, f"halving should need far less than one savepoint a write: {seen}"


def test_statements_come_in_few_texts_so_that_they_stay_prepared() -> None:
    texts = {
        text
        for count in range(1, 2000)
        for text, _, _ in statements.insert_journal([("g", seq, "k", "", 0.0, b"", None) for seq in range(count)])
    }
    assert len(texts) == len(statements.LIST_SIZES)
    widest = max(text.count("?") for text in texts)
    assert widest * 15 / 7 < 32_766, "SQLite's limit of parameters"


def test_a_commit_is_synced_to_the_disk_before_it_returns(store: SqlStore, path: Path) -> None:
    """In WAL mode only FULL (2) syncs at every commit; NORMAL would lose the last ones with the power."""
    del store
    with sqlite_file(f"sqlite:///{path}", busy_timeout_s=1).writer().connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


# --- values ---


@pytest.mark.parametrize(
    "poison",
    [
        pytest.param(begin("x", workflow=("\ud800", "1")), id="half a surrogate pair"),
        pytest.param(step("g0", 1, RowChange(updated_at=1.0, attempt_count=2**63)), id="a number of 65 bits"),
        pytest.param(begin("x", created_at=math.nan), id="an instant that is no number"),
    ],
)
def test_a_value_that_cannot_be_stored_hurts_only_its_own_write(store: SqlStore, poison: Write) -> None:
    store.commit([begin(f"g{number}") for number in range(9)])
    results = store.commit([*(step(f"g{number}", 1) for number in range(1, 5)), poison, step("g5", 1)])
    assert [type(result) for result in results] == [type(None)] * 4 + [UnstorableWrite, type(None)]
    assert repr(poison.gid) in str(results[4])
    assert isinstance(results[4], Exception)
    assert results[4].__cause__ is not None
    assert store.history("g0", 1) == []
    assert len(store.history("g5")) == 2


def test_a_conflict_says_what_was_found_and_what_was_expected(store: SqlStore) -> None:
    store.commit([begin("g", row_count=2)])
    results = store.commit([begin("g"), step("g", 1), step("g", 5), step("x", 1)])
    assert [str(result).splitlines()[0] for result in results] == [
        "transaction g exists already, its journal goes on at 2",
        "the journal of g goes on at 2; the write expected 1",
        "the journal of g goes on at 2; the write expected 5",
        "transaction x is not in the journal; the write expected it to go on at 1",
    ]
    assert all(isinstance(result, ConflictError) for result in results)


def test_every_field_has_its_place_in_a_statement() -> None:
    """A new field of the records fails here until the statements carry it."""
    assert NewTransaction.__struct_fields__ == (
        *("pattern", "workflow", "version", "status", "owner", "wake_at", "input", "options", "created_at"),
        *("place", "begun_by", "reason"),
    )
    assert JournalRow.__struct_fields__ == ("gid", "seq", "kind", "address", "data", "at")
    of_the_row = {*RowChange.__struct_fields__, *NewTransaction.__struct_fields__, "id", "gid"} - {"place"}
    assert of_the_row == {column.name for column in transactions.columns}


def test_a_batch_is_regular_only_while_each_gid_goes_on_where_it_ended() -> None:
    assert batch_of([begin("g"), step("h", 4), step("g", 1), step("h", 5)]) is not None
    assert batch_of([step("g", 4), step("g", 4)]) is None
    assert batch_of([step("g", 4), step("g", 6)]) is None


def test_the_changes_of_one_gid_are_merged_the_later_one_wins() -> None:
    first = RowChange(updated_at=1.0, reason="first", wake_at=None)
    second = RowChange(updated_at=2.0, reason="second", status="aborting")
    batch = batch_of([step("g", 1, first), step("g", 2, second)])
    assert batch is not None
    both = RowChange(updated_at=2.0, reason="second", status="aborting", wake_at=None)
    assert batch.changes == getattr(batch_of([step("g", 1, both)]), "changes", None)


# --- plans ---


def plan(path: Path, text: str, values: Sequence[object] = ()) -> str:
    """SQLite's plan of a statement, in lines."""
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(str(line[3]) for line in connection.execute(f"EXPLAIN QUERY PLAN {text}", values))


def test_the_hot_statements_find_transactions_by_index(store: SqlStore, path: Path) -> None:
    del store
    batch = batch_of([step(f"g{number}", 1, RowChange(updated_at=1.0)) for number in range(100)])
    assert batch is not None
    filled = itertools.chain(statements.insert_journal(batch.journal), statements.update_transactions(batch.changes))
    for text, values, _ in filled:
        steps = plan(path, text, values)
        assert "SEARCH t USING" in steps, steps
        assert "SCAN t" not in steps, steps


def test_every_question_a_running_node_asks_is_answered_from_an_index(store: SqlStore, path: Path) -> None:
    asked: list[str] = []

    def remember(_connection: object, _cursor: object, text: str, *_: object) -> None:
        asked.append(text)

    event.listen(Engine, "before_cursor_execute", remember)
    try:
        store.commit([begin("g", wake_at=1.0, owner="n9")])
        store.transaction("g")
        store.history("g", 0)
        store.claim("n", 5.0, 10, [WORKFLOW])
        store.next_wake_at([WORKFLOW])
        store.owned("n")
        store.nudged("n", 0.0)
        store.release("n", 1.0)
        store.transactions(Filter(unfinished=True), before_id=None, limit=5)
        store.transactions(Filter(status="failed"), before_id=None, limit=5)
    finally:
        event.remove(Engine, "before_cursor_execute", remember)
    questions = [text for text in asked if "flowtx_transactions" in text and not text.strip().startswith("INSERT")]
    assert len(questions) >= 10
    for text in questions:
        steps = plan(path, text, [None] * text.count("?"))
        assert "SCAN flowtx_transactions" not in steps, f"{text}\n{steps}"


def instruction_count(path: Path, statement: ClauseElement) -> int:
    """About how many instructions SQLite's machine needs to find the one row that a statement gives."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 10
        return 0

    text = str(statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    with closing(sqlite3.connect(path)) as connection:
        connection.set_progress_handler(tick, 10)
        assert len(connection.execute(text).fetchall()) == 1
    return count


def test_a_page_of_unfinished_ones_is_found_without_walking_through_the_finished(store: SqlStore, path: Path) -> None:
    store.commit([begin("first")])
    store.commit([begin(f"g{number}") for number in range(2000)])
    store.commit([end(f"g{number}", 1) for number in range(2000)])
    assert instruction_count(path, statements.page(Filter(unfinished=True), None, 5)) < 1000


def test_what_is_due_is_found_without_walking_through_the_finished(store: SqlStore, path: Path) -> None:
    store.commit([begin(f"g{number}", wake_at=1.0) for number in range(2000)])
    store.commit([end(f"g{number}", 1) for number in range(2000)])
    store.commit([begin("due", wake_at=1.0)])
    name, version = WORKFLOW
    wanted = statements.DUE.params(owner="", workflow=name, version=version, now_at=5.0, limit=10)
    assert instruction_count(path, wanted) < 1000


# --- description ---


def test_a_description_counts_by_status(store: SqlStore, path: Path) -> None:
    store.commit([begin("a"), begin("b", status="prepared"), begin("c"), end("c", 1)])
    found = store.describe()
    assert found.counts == {"submitted": 1, "prepared": 1, "succeed": 1}
    assert (found.dialect, found.schema_version, found.url) == ("sqlite", newest_version(), f"sqlite:///{path}")
    assert found.size_bytes > 10_000
    assert "sqlite:///" in repr(store)


def test_columns_are_read_in_the_order_of_the_struct() -> None:
    assert tuple(column.name for column in statements.COLUMNS) == Transaction.__struct_fields__
