"""DTM's stores to read from: SQLite always, the others where a server is."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, make_url, text

from flowtx.dtm.takeover.opening import open_source
from flowtx.dtm.takeover.records import DtmTransaction, Source
from flowtx.dtm.takeover.redis_source import UNTYPED
from tests.flowtx.dtm.takeover.stores import Fill, fill_redis, fill_sql

HOW = {
    "FLOWTX_TEST_MYSQL_URL": "mysql+pymysql://user:password@localhost/test (apt-get install mariadb-server)",
    "FLOWTX_TEST_POSTGRES_URL": "postgresql+psycopg://user@localhost/test (apt-get install postgresql)",
    "FLOWTX_TEST_REDIS_URL": "redis://localhost/0 (apt-get install redis-server)",
}


def url_in(variable: str) -> str:
    url = os.environ.get(variable)
    if url is None:
        pytest.skip(f"no server here: set {variable} to an URL like {HOW[variable]}")
    return url


@pytest.fixture(params=["sqlite", "mysql", "postgresql", "redis"])
def fill(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fill]:
    """Writes a store of each kind as DTM would; what it made is gone afterwards."""
    name = f"dtm_{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:
        if request.param == "redis":
            url = url_in("FLOWTX_TEST_REDIS_URL")
            prefix = f"{{{name}}}[x]*"  # with what patterns of Redis take for something else
            client: Any = stack.enter_context(closing(UNTYPED.from_url(url)))

            def clean() -> None:
                for key in client.scan_iter(match=f"*{name}*", count=1_000):
                    client.delete(key)

            stack.callback(clean)

            def into_redis(transactions: Sequence[DtmTransaction], topics: Mapping[str, str]) -> Source:
                fill_redis(client, prefix, transactions, topics)
                return open_source(url, name="it", redis_prefix=prefix)

            yield into_redis
            return
        url = _sql_url(request.param, name, tmp_path, stack)

        def into_sql(transactions: Sequence[DtmTransaction], topics: Mapping[str, str]) -> Source:
            engine = create_engine(url, poolclass=NullPool)
            fill_sql(engine, transactions, topics)
            return open_source(url, name="it", redis_prefix="")

        yield into_sql


def _sql_url(kind: str, name: str, tmp_path: Path, stack: ExitStack) -> str:
    """An empty database, or schema, of that name."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/{name}.db"
    url = make_url(url_in("FLOWTX_TEST_MYSQL_URL" if kind == "mysql" else "FLOWTX_TEST_POSTGRES_URL"))
    admin = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    cascade = "" if kind == "mysql" else " CASCADE"

    def say(statement: str) -> None:
        with admin.connect() as connection:
            connection.execute(text(statement))

    say(f"CREATE SCHEMA {name}")
    stack.callback(say, f"DROP SCHEMA {name}{cascade}")
    own = url.set(database=name) if kind == "mysql" else url.update_query_dict({"options": f"-csearch_path={name}"})
    return own.render_as_string(hide_password=False)
