"""Reading DTM's stores: all of them tell the same, and none is changed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from flowtx.dtm.takeover import sql_source
from flowtx.dtm.takeover.opening import open_source
from flowtx.dtm.takeover.records import DtmTopic, SourceError, Unreadable
from flowtx.dtm.takeover.redis_source import UNTYPED, RedisSource
from tests.flowtx.dtm.takeover.conftest import url_in
from tests.flowtx.dtm.takeover.stores import Fill, fill_sql, msg, read, row, saga, tcc, transaction, xa

EVERYTHING = [
    saga("submitted", "P S P P", custom_data='{"concurrent":true}', options='{"retry_limit":3,"concurrent":false}'),
    saga("aborting", "P S P F", rollback_reason="url:http://p/action02 return failed: no \u00fc"),
    tcc("prepared", "P P"),
    xa("submitted", "P S P P"),
    msg("prepared", "P P P"),
    transaction("workflow", "prepared", [row("01", "action", "succeed", url="")]),
]
TOPICS = {"t": '[{"url":"http://p/a","remark":"x"}]'}


def test_every_store_tells_what_was_written(fill: Fill) -> None:
    finished = [saga("succeed", "P S"), tcc("failed", "S P")]
    source = fill([*EVERYTHING, *finished], TOPICS)
    with closing(source):
        found = list(source.unfinished())
        assert source.finished_count() == 2
        assert list(source.topics()) == [DtmTopic(name="t", value=TOPICS["t"])]
    assert sorted(found, key=lambda one: one.gid) == sorted(EVERYTHING, key=lambda one: one.gid)


def test_more_transactions_than_a_page_are_read(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_source, "PAGE", 3)
    many = [saga("submitted", "P P", gid=f"g{i}") for i in range(7)]
    assert read(fill(many, {})) == many


def test_no_time_is_no_error(fill: Fill) -> None:
    timeless = msgspec.structs.replace(row("01", "action"), created_at=None)
    only = transaction("workflow", "prepared", [timeless])
    assert read(fill([only], {})) == [only]


def test_an_sql_store_cannot_be_written_to(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/dtm.db"
    fill_sql(create_engine(url, poolclass=NullPool), EVERYTHING, {})
    source = sql_source.SqlSource(url, name="it")
    with closing(source), pytest.raises(OperationalError, match="readonly"):
        source._connection.execute(text("DELETE FROM kv"))  # pyright: ignore[reportPrivateUsage] - no other way in


def test_a_database_without_dtms_tables_is_told(tmp_path: Path) -> None:
    source = open_source(f"sqlite:///{tmp_path}/empty.db", name="the file", redis_prefix="")
    with pytest.raises(SourceError, match="DTM's store at the file cannot be read: no such table: trans_global"):
        read(source)


@pytest.mark.parametrize("url", ["nonsense", "boltdb://dtm.bolt", "sqlserver://u:secret@h/dtm"])
def test_a_url_of_no_store_is_told_without_its_password(url: str) -> None:
    with pytest.raises(SourceError, match="it names no store of DTM's") as caught:
        open_source(url, name="it", redis_prefix="")
    assert "secret" not in str(caught.value)


def test_a_redis_that_does_not_answer_is_told() -> None:
    with pytest.raises(SourceError, match="DTM's store at it cannot be read"):
        open_source("redis://127.0.0.1:1/0", name="it", redis_prefix="{a}")
    with pytest.raises(SourceError, match="it names no Redis"):
        open_source("redis://h/0?socket_timeout=x", name="it", redis_prefix="{a}")


def test_a_record_that_is_no_record_is_left_alone() -> None:
    url = url_in("FLOWTX_TEST_REDIS_URL")
    with closing(UNTYPED.from_url(url)) as client:
        client.set("{unreadable}_g_g-1", b'{"status": 7}', ex=60)
        (found,) = read(RedisSource(url, "{unreadable}", name="it"))
        client.delete("{unreadable}_g_g-1")
    assert isinstance(found, Unreadable)
    assert (found.gid, found.reason[:36]) == ("g-1", "its record in Redis is not as DTM wr")
