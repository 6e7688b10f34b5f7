"""What workers of one test run (pytest-xdist) need so that they do not disturb each other: databases of their own, and
one of them building what all of them use.

The law of this file: the process that starts the workers makes their databases and drops them, also after a worker that
died; a run with one process uses the databases as the environment names them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

SQL_VARIABLES = ("FLOWTX_TEST_POSTGRES_URL", "FLOWTX_TEST_MYSQL_URL")
REDIS_VARIABLE = "FLOWTX_TEST_REDIS_URL"


@contextmanager
def databases_for(worker: str, run: str) -> Generator[dict[str, str]]:
    """The variables for one worker, ``gw0``: each names an empty database on the server that the environment names."""
    with ExitStack() as stack:
        urls = {variable: url for variable in SQL_VARIABLES if (url := os.environ.get(variable))}
        own = {variable: stack.enter_context(_sql_database(url, f"{run}_{worker}")) for variable, url in urls.items()}
        if url := os.environ.get(REDIS_VARIABLE):
            own[REDIS_VARIABLE] = _redis_database(url, 1 + int(worker.removeprefix("gw")))
        yield own


@contextmanager
def _sql_database(url: str, suffix: str) -> Generator[str]:
    parsed = make_url(url)
    name = f"{parsed.database}_{suffix}"
    _say(url, f"CREATE DATABASE {name}")
    own = parsed.set(database=name).render_as_string(hide_password=False)
    try:
        yield own
    finally:
        if parsed.get_backend_name() == "postgresql":
            # A database with prepared transactions cannot be dropped, and a test that failed may have left some.
            for gid in _say(own, "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"):
                _say(own, f"ROLLBACK PREPARED '{gid}'")
            _say(url, f"DROP DATABASE {name} WITH (FORCE)")
        else:
            _say(url, f"DROP DATABASE {name}")


def _say(url: str, statement: str) -> list[str]:
    """Run a statement; the first column of what it finds."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            found = connection.execute(text(statement))
            return [str(row[0]) for row in found] if found.returns_rows else []
    except SQLAlchemyError as error:
        raise pytest.UsageError(
            f"{statement!r} failed at {make_url(url)}: {error}\n"
            "  -> Workers have a database each: let the user make databases, or run one process with -n 0."
        ) from error


def _redis_database(url: str, number: int) -> str:
    """The same server with another database; databases in Redis are numbered, and are always there."""
    server, _, base = url.rpartition("/")
    own = f"{server}/{int(base) + number}"
    untyped: Any = redis.Redis
    try:
        with untyped.from_url(own) as connection:
            connection.ping()
    except redis.RedisError as error:
        raise pytest.UsageError(
            f"no database for a worker at {own}: {error}\n"
            "  -> Workers have a database each: start Redis with --databases 64, or run fewer workers, -n 8."
        ) from error
    return own


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The file of that name which ``make`` writes, made by the first worker that asks; the others wait for it."""
    base = factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # workers have a folder each below the run's
    file = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            make(file)
    return file
