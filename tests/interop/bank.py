"""The bank of ``tests/interop/go``, as the tests see it: what to run, what was called, what the accounts hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
import trio
from sqlalchemy import URL, Engine, NullPool, create_engine, make_url, text

from flowtx.client.barrier_upkeep import create_table
from tests.compat.dtm import Dtm
from tests.compat.web import ask

DATABASES = {
    "mysql": ("FLOWTX_TEST_MYSQL_URL", "apt-get install mariadb-server"),
    "postgres": ("FLOWTX_TEST_POSTGRES_URL", "apt-get install postgresql; xa needs max_prepared_transactions > 0"),
}
"""What DTM calls each database, the variable that holds its SQLAlchemy URL, and how to get one."""
ACCOUNTS = "create table if not exists interop_accounts(gid varchar(128), account varchar(45), amount int)"


class Ran(NamedTuple):
    """What the client's library returned: a value, and the text of an error."""

    value: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """The bank at ``url``, a client of ``dtm``."""

    url: str
    dtm: Dtm

    async def run(self, scenario: str, gid: str, **words: str) -> Ran:
        """Run a transaction as its client."""
        answer = await ask(self.url, "POST", f"/run/{scenario}?{urlencode({'gid': gid, **words})}")
        assert answer.status == 200, answer
        return Ran(**answer.json)

    async def calls(self, gid: str) -> list[str]:
        """The calls that the bank got for a transaction, each as ``debit 01 action``."""
        answer = await ask(self.url, "GET", f"/calls?{urlencode({'gid': gid})}")
        found: list[str] = answer.json
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database that the bank uses; ``conf`` is DTM's way to say where it is."""

    engine: Engine
    conf: dict[str, Any]

    @classmethod
    def at(cls, name: str, url: str) -> Database:
        """The database at an SQLAlchemy URL, with what the bank needs made in it."""
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect() as connection:
            create_table(connection)
        with engine.begin() as connection:
            connection.execute(text(ACCOUNTS))
        return cls(engine=engine, conf=conf_of(name, make_url(url)))

    async def accounts(self, gid: str) -> dict[str, list[int]]:
        """What was added to each account for a transaction."""
        return await trio.to_thread.run_sync(self._accounts, gid)

    def _accounts(self, gid: str) -> dict[str, list[int]]:
        added: dict[str, list[int]] = {}
        with self.engine.connect() as connection:
            for account, amount in connection.execute(
                text("select account, amount from interop_accounts where gid = :gid order by amount"), {"gid": gid}
            ):
                added.setdefault(account, []).append(amount)
        return added


def conf_of(name: str, url: URL) -> dict[str, Any]:
    """DTM's DBConf of a URL."""
    return {
        "Driver": name,
        "Host": url.host,
        "Port": url.port or {"mysql": 3306, "postgres": 5432}[name],
        "User": url.username,
        "Password": url.password or "trusted",  # an empty one would swallow the next word of lib/pq's DSN
        "Db": url.database,
        "Schema": "public",
    }


def need(databases: dict[str, Database], name: str) -> None:
    """Skip the test where the environment names no such database."""
    if name not in databases:
        variable, how = DATABASES[name]
        pytest.skip(f"no {name}: set {variable} to an SQLAlchemy URL ({how})")
