"""The barrier's table: DTM's layout, shared with services in other languages, and cleared of old rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import inspect, text

from flowtx.client.barrier import Barrier, Ran, Skipped, Why
from flowtx.client.barrier_table import DEFAULT_TABLES, statements_of
from flowtx.client.barrier_upkeep import create_table, purge
from flowtx.client.errors import BarrierError
from tests.flowtx.client.conftest import Bank, Way

# The tables as the scripts that come with DTM make them, here under a name of their own.
DTM_TABLES = {
    "postgresql": """create table {table} (id bigserial primary key,
        trans_type varchar(45) default '', gid varchar(128) default '', branch_id varchar(128) default '',
        op varchar(45) default '', barrier_id varchar(45) default '', reason varchar(45) default '',
        create_time timestamp(0) with time zone default null, update_time timestamp(0) with time zone default null,
        constraint uniq_barrier unique (gid, branch_id, op, barrier_id))""",
    "mysql": """create table {table} (id bigint(22) primary key auto_increment,
        trans_type varchar(45) default '', gid varchar(128) default '', branch_id varchar(128) default '',
        op varchar(45) default '', barrier_id varchar(45) default '', reason varchar(45) default '',
        create_time datetime default now(), update_time datetime default now(),
        key(create_time), key(update_time), unique key(gid, branch_id, op, barrier_id)
        ) engine = InnoDB default charset = utf8mb4""",
}
# How another service writes its row, in its own words: without times, as DTM's Go client does.
FOREIGN_INSERT = (
    "insert into {table} (trans_type, gid, branch_id, op, barrier_id, reason) values (:t, :g, :b, :o, :i, :r)"
)
OLD = {
    "sqlite": "datetime('now', '-2 days')",
    "postgresql": "now() - interval '2 days'",
    "mysql": "now() - interval 2 day",
}


@pytest.fixture
def dtm_table(server_bank: Bank) -> Iterator[str]:
    bank = server_bank
    table = f"barrier_{bank.gid}"
    with bank.engine.connect() as connection:
        connection.execute(text(DTM_TABLES[bank.dialect].format(table=table)))
        connection.commit()
    yield table
    with bank.engine.connect() as connection:
        connection.execute(text(f"drop table {table}"))
        connection.commit()


def test_the_table_has_the_columns_that_others_expect(bank: Bank) -> None:
    schema, _, name = DEFAULT_TABLES[bank.dialect].rpartition(".")
    looked = inspect(bank.engine)
    columns = [column["name"] for column in looked.get_columns(name, schema=schema or None)]
    texts = ["trans_type", "gid", "branch_id", "op", "barrier_id", "reason"]
    assert columns == ["id", *texts, "create_time", "update_time"]
    unique = [found["column_names"] for found in looked.get_unique_constraints(name, schema=schema or None)]
    assert unique == [["gid", "branch_id", "op", "barrier_id"]]


def test_making_the_table_again_changes_nothing(bank: Bank, way: Way) -> None:
    with bank.open(way) as connection:
        bank.barrier("action").call(connection, lambda _: None)
        create_table(connection)
    assert len(bank.rows()) == 1


def test_a_row_of_another_service_counts_as_ours(bank: Bank, way: Way) -> None:
    with bank.engine.connect() as other:
        insert = FOREIGN_INSERT.format(table=DEFAULT_TABLES[bank.dialect])
        row = {"t": "saga", "g": bank.gid, "b": "01", "o": "action", "i": "01", "r": "action"}
        other.execute(text(insert), row)
        other.commit()
    with bank.open(way) as connection:
        assert bank.barrier("action").call(connection, lambda _: None) == Skipped(Why.REPEATED_OR_LATE)
        assert bank.barrier("compensate").call(connection, lambda _: 1) == Ran(1)


def test_a_table_made_by_dtms_own_script_serves(server_bank: Bank, way: Way, dtm_table: str) -> None:
    bank = server_bank

    def barrier(op: str) -> Barrier:
        return Barrier(gid=bank.gid, branch_id="01", op=op, trans_type="saga", table=dtm_table)

    with bank.open(way) as connection:
        assert barrier("compensate").call(connection, lambda _: 1) == Skipped(Why.NOTHING_TO_TAKE_BACK)
        assert barrier("action").call(connection, lambda _: 1) == Skipped(Why.REPEATED_OR_LATE)
        assert purge(connection, older_than_s=3600, table=dtm_table) == 0
    with bank.engine.connect() as connection:
        times = connection.execute(text(f"select create_time from {dtm_table}")).scalars().all()
    assert len(times) == 2
    assert None not in times  # or no purge could ever take them


def test_gids_that_differ_by_case_are_two(bank: Bank) -> None:
    with bank.open("connection") as connection:
        for gid in (f"a{bank.gid}", f"A{bank.gid}"):
            barrier = Barrier(gid=gid, branch_id="01", op="action", trans_type="saga")
            assert barrier.call(connection, lambda _: 1) == Ran(1)


def test_only_old_rows_are_purged(bank: Bank, way: Way) -> None:
    table = DEFAULT_TABLES[bank.dialect]
    with bank.open(way) as connection:
        for number in range(1, 8):
            bank.barrier("action", branch_id=f"0{number}").call(connection, lambda _: None)
    with bank.engine.connect() as other:
        old = text(f"update {table} set create_time = {OLD[bank.dialect]} where gid = :gid and branch_id <= '05'")
        other.execute(old, {"gid": bank.gid})
        other.commit()
    with bank.open(way) as connection:
        assert purge(connection, older_than_s=3 * 86400, batch_max=2) == 0
        assert purge(connection, older_than_s=86400, batch_max=2) == 5
        assert purge(connection, older_than_s=86400, batch_max=2) == 0
    assert [row[0] for row in bank.rows()] == ["06", "07"]


@pytest.mark.parametrize(("older_than_s", "batch_max", "named"), [(0, 1, "older_than_s"), (1, 0, "batch_max")])
def test_a_purge_of_everything_is_refused(bank: Bank, older_than_s: int, batch_max: int, named: str) -> None:
    with bank.open("connection") as connection, pytest.raises(BarrierError, match=named):
        purge(connection, older_than_s=older_than_s, batch_max=batch_max)


@pytest.mark.parametrize("table", ["", "a b", "a;drop table x", "a.b.c", "1a", "a.", "é", "a\n"])
def test_only_a_name_can_be_the_tables_name(table: str) -> None:
    with pytest.raises(BarrierError, match="expected a name like"):
        statements_of("sqlite", table)
