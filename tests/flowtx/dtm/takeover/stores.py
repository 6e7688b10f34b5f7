"""Stores as DTM leaves them, written by tests: its columns and keys (spec 6.1 to 6.3), in tables of our own making."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, DateTime, Engine, Integer, LargeBinary, MetaData, String, Table, Text

from flowtx.dtm.takeover.records import DtmBranch, DtmTransaction, Source, Unreadable
from flowtx.dtm.takeover.sql_source import SqlSource

Fill = Callable[[Sequence[DtmTransaction], Mapping[str, str]], Source]
"""Writes transactions and topics as DTM would, and opens the store."""

AT = 1_699_999_990.0
"""An instant of whole seconds, as SQL stores keep them, ten seconds before the time of a ``TrioClock`` begins."""

_metadata = MetaData()
_id = BigInteger().with_variant(Integer, "sqlite")
_time = DateTime(timezone=True)
TRANSACTIONS = Table(
    "trans_global",
    _metadata,
    Column("id", _id, primary_key=True),
    Column("gid", String(128), nullable=False, unique=True),
    Column("trans_type", String(45), nullable=False),
    Column("status", String(12), nullable=False),
    Column("query_prepared", String(1024), nullable=False),
    Column("protocol", String(45), nullable=False),
    *(Column(name, _time) for name in ("create_time", "update_time", "finish_time", "rollback_time")),
    *(Column(name, String(1024)) for name in ("options", "custom_data", "result", "rollback_reason")),
)
BRANCHES = Table(
    "trans_branch_op",
    _metadata,
    Column("id", _id, primary_key=True),
    Column("gid", String(128), nullable=False),
    Column("url", String(1024), nullable=False),
    Column("bin_data", LargeBinary),
    Column("branch_id", String(128), nullable=False),
    Column("op", String(45), nullable=False),
    Column("status", String(45), nullable=False),
    *(Column(name, _time) for name in ("finish_time", "create_time")),
)
KEY_VALUES = Table(
    "kv",
    _metadata,
    Column("id", _id, primary_key=True),
    Column("cat", String(45), nullable=False),
    Column("k", String(128), nullable=False),
    Column("v", Text),
)


def fill_sql(engine: Engine, transactions: Iterable[DtmTransaction], topics: Mapping[str, str]) -> None:
    """Make the tables and write rows."""
    _metadata.create_all(engine)
    has_zones = engine.dialect.name == "postgresql"

    def time_of(at: float | None) -> datetime | None:
        if at is None:
            return None
        return datetime.fromtimestamp(at, UTC) if has_zones else datetime.fromtimestamp(at)

    with engine.begin() as connection:
        for one in transactions:
            row = msgspec.structs.asdict(one)
            row["create_time"] = time_of(row.pop("created_at"))
            branches: tuple[DtmBranch, ...] = row.pop("branches")
            connection.execute(TRANSACTIONS.insert(), row)
            for branch in branches:
                of_branch = msgspec.structs.asdict(branch)
                of_branch["bin_data"] = of_branch.pop("payload")
                of_branch["create_time"] = time_of(of_branch.pop("created_at"))
                of_branch["finish_time"] = time_of(of_branch.pop("finished_at"))
                connection.execute(BRANCHES.insert(), {"gid": one.gid, **of_branch})
        for name, value in topics.items():
            connection.execute(KEY_VALUES.insert(), {"cat": "topics", "k": name, "v": value})


def fill_redis(client: Any, prefix: str, transactions: Iterable[DtmTransaction], topics: Mapping[str, str]) -> None:
    """Write the keys of one prefix."""
    for one in transactions:
        record = msgspec.structs.asdict(one)
        record["create_time"] = _go_time(record.pop("created_at"))
        record["concurrent"] = False
        branches: tuple[DtmBranch, ...] = record.pop("branches")
        client.set(f"{prefix}_g_{one.gid}", msgspec.json.encode({k: v for k, v in record.items() if v != ""}))
        for branch in branches:
            of_branch = msgspec.structs.asdict(branch)
            of_branch["bin_data"] = of_branch.pop("payload")
            of_branch["create_time"] = _go_time(of_branch.pop("created_at"))
            of_branch["finish_time"] = _go_time(of_branch.pop("finished_at"))
            client.rpush(f"{prefix}_b_{one.gid}", msgspec.json.encode({"gid": one.gid, **of_branch}))
    for name, value in topics.items():
        entry = {"cat": "topics", "k": name, "v": value, "version": 1}
        client.set(f"{prefix}_kv_topics_{name}", msgspec.json.encode(entry))


def _go_time(at: float | None) -> str | None:
    """As Go writes it, with nanoseconds and a zone."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", ".000000000+00:00")


def read(source: Source) -> list[DtmTransaction | Unreadable]:
    """What a source has that is not finished; closes it."""
    with closing(source):
        return list(source.unfinished())


def sqlite_source(path: str) -> Source:
    """A SQLite file with DTM's tables."""
    return SqlSource(f"sqlite:///{path}", name=path)


# -- transactions, as short as tests want them


def row(branch_id: str, op: str, status: str = "prepared", *, url: str | None = None) -> DtmBranch:
    return DtmBranch(
        branch_id=branch_id,
        op=op,
        url=f"http://p/{op}{branch_id}" if url is None else url,
        payload=b"{}",
        status=status,
        created_at=AT,
        finished_at=None if status == "prepared" else AT + 1,
    )


_WORDS = {"P": "prepared", "S": "succeed", "F": "failed"}


def rows(statuses: str, *ops: str, url: str | None = None) -> tuple[DtmBranch, ...]:
    """Rows by the first letters of their statuses, all ops of a branch together: ``P S P F``."""
    letters = statuses.split()
    assert len(letters) % len(ops) == 0, statuses
    return tuple(
        row(f"{i // len(ops) + 1:02d}", ops[i % len(ops)], _WORDS[letter], url=url) for i, letter in enumerate(letters)
    )


def transaction(trans_type: str, status: str, branches: Sequence[DtmBranch] = (), **changes: object) -> DtmTransaction:
    usual = DtmTransaction(
        gid=f"{trans_type}-{status}",
        trans_type=trans_type,
        status=status,
        created_at=AT,
        protocol="http",
        options='{"concurrent":false}',
        query_prepared="http://p/query" if trans_type in ("msg", "workflow") else "",
        branches=tuple(branches),
    )
    return msgspec.structs.replace(usual, **changes)


def saga(status: str, statuses: str, **changes: object) -> DtmTransaction:
    return transaction("saga", status, rows(statuses, "compensate", "action"), **changes)


def tcc(status: str, statuses: str, **changes: object) -> DtmTransaction:
    return transaction("tcc", status, rows(statuses, "cancel", "confirm"), **changes)


def xa(status: str, statuses: str, **changes: object) -> DtmTransaction:
    return transaction("xa", status, rows(statuses, "rollback", "commit", url="http://p/xa"), **changes)


def msg(status: str, statuses: str, **changes: object) -> DtmTransaction:
    return transaction("msg", status, rows(statuses, "action"), **changes)
