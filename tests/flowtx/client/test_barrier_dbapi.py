"""Plain drivers: every mode of sqlite3, psycopg and PyMySQL gives the barrier a real transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, cast

import pytest

from flowtx.client.barrier import Barrier, Ran
from flowtx.client.barrier_dbapi import render
from flowtx.client.barrier_upkeep import create_table
from flowtx.client.errors import BarrierError
from tests.flowtx.client.conftest import Bank

Mode = Literal["deferred", "immediate", "autocommit", "3.12 autocommit", "3.12 transactions"]
MODES: tuple[Mode, ...] = ("deferred", "immediate", "autocommit", "3.12 autocommit", "3.12 transactions")


def connect(path: Path, mode: Mode) -> sqlite3.Connection:
    match mode:
        case "deferred":
            return sqlite3.connect(path, isolation_level="DEFERRED")
        case "immediate":
            return sqlite3.connect(path, isolation_level="IMMEDIATE")
        case "autocommit":
            return sqlite3.connect(path, isolation_level=None)
        case "3.12 autocommit" | "3.12 transactions":
            if "autocommit" not in vars(sqlite3.Connection):
                pytest.skip("sqlite3.connect(autocommit=...) is new in Python 3.12: run the tests with it")
            new_connect: Callable[..., sqlite3.Connection] = sqlite3.connect
            return new_connect(path, autocommit=mode == "3.12 autocommit")


@pytest.fixture(params=MODES)
def connection(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(tmp_path / "bank.db", cast("Mode", request.param))) as connection:
        create_table(connection)
        connection.execute("create table ledger (note text)")
        connection.commit()
        yield connection


def committed(tmp_path: Path) -> tuple[int, int]:
    """How many lines and how many barrier rows another connection sees."""
    with closing(sqlite3.connect(tmp_path / "bank.db")) as other:
        counts = (other.execute(f"select count(*) from {table}").fetchone()[0] for table in ("ledger", "dtm_barrier"))
        return next(counts), next(counts)


def action() -> Barrier:
    return Barrier(gid="g", branch_id="01", op="action", trans_type="saga")


def test_business_is_committed_with_its_row_in_every_mode(connection: sqlite3.Connection, tmp_path: Path) -> None:
    for _ in range(2):
        action().call(connection, lambda same: same.execute("insert into ledger values ('done')"))
        assert committed(tmp_path) == (1, 1)


def test_failing_business_leaves_nothing_in_every_mode(connection: sqlite3.Connection, tmp_path: Path) -> None:
    def business(same: sqlite3.Connection) -> None:
        same.execute("insert into ledger values ('half')")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        action().call(connection, business)
    assert committed(tmp_path) == (0, 0)
    assert action().call(connection, lambda _: 1) == Ran(1)


def test_rows_may_come_as_mappings(tmp_path: Path) -> None:
    def as_dict(cursor: sqlite3.Cursor, row: tuple[object, ...]) -> dict[str, object]:
        return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}

    with closing(sqlite3.connect(tmp_path / "bank.db")) as connection:
        connection.row_factory = as_dict
        create_table(connection)
        barrier = Barrier(gid="g", branch_id="00", op="msg", trans_type="msg")
        barrier.call(connection, lambda _: None)
        barrier.query_prepared(connection)


def test_a_server_connection_in_autocommit_has_a_transaction_all_the_same(server_bank: Bank) -> None:
    bank = server_bank
    with bank.open("plain driver") as connection:
        autocommit: Any = connection
        if bank.dialect == "postgresql":
            autocommit.autocommit = True
        else:
            autocommit.autocommit(True)

        def business(same: object) -> None:
            bank.note(connection, "half")
            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            bank.barrier("action").call(connection, business)
        assert bank.rows() == []
        assert bank.notes() == []
        bank.barrier("action").call(connection, lambda same: bank.note(same, "whole"))
        assert bank.notes() == ["whole"]


@pytest.mark.parametrize(
    ("paramstyle", "operation", "names"),
    [
        ("named", "a = :a and b = :b or a = :a", None),
        ("pyformat", "a = %(a)s and b = %(b)s or a = %(a)s", None),
        ("qmark", "a = ? and b = ? or a = ?", ("a", "b", "a")),
        ("format", "a = %s and b = %s or a = %s", ("a", "b", "a")),
        ("numeric", "a = :1 and b = :2 or a = :3", ("a", "b", "a")),
    ],
)
def test_parameters_are_written_in_the_drivers_style(
    paramstyle: str, operation: str, names: tuple[str, ...] | None
) -> None:
    assert render("a = :a and b = :b or a = :a", paramstyle) == (operation, names)


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(BarrierError, match="'dollar'"):
        render("a = :a", "dollar")


def test_values_are_never_part_of_a_statement(bank: Bank) -> None:
    hostile = "'); drop table ledger --"
    for way in ("connection", "plain driver"):
        with bank.open("connection" if way == "connection" else "plain driver") as connection:
            barrier = Barrier(gid=bank.gid, branch_id=hostile, op=f"{way}'", trans_type="%(gid)s :gid")
            assert barrier.call(connection, lambda _: 1) == Ran(1)
    assert [row[0] for row in bank.rows()] == [hostile, hostile]
