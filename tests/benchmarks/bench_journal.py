"""How many appends a second the journal makes durable on SQLite with a full fsync a commit, through trio.

Run as a script: ``make bench``, or alone with ``--finished 1000000`` to see whether a database that is full of finished
transactions is slower. Appenders live the life of a transaction again and again: created, two steps, ended, four writes
under a random gid. Absolute numbers move with the machine and its disk, so each rate is also given as a ratio to a bare
loop of sqlite3, one row a commit, measured just before it.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import trio

from flowtx.testing.journal_writes import begin, end, step
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.records import Write
from flowtx_engine.journal.sql import SqlStore, open_sqlite

APPENDER_COUNTS = (1, 8, 64, 256)
DATA = b'{"kind":"succeeded","call":{"name":"deposit","args":[{"account":"bob","cents":3000}]},"value":null}'


def life() -> Iterator[Write]:
    """The writes of one transaction."""
    gid = uuid.uuid4().hex
    yield begin(gid, owner="node", wake_at=1.0, input=DATA)
    yield step(gid, 1, data=DATA)
    yield step(gid, 2, data=DATA)
    yield end(gid, 3)


def bare_rate(directory: Path, seconds: float) -> float:
    """Rows a second of the plainest program: one row, one commit."""
    with closing(sqlite3.connect(directory / "bare.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS t (gid TEXT, seq INTEGER, data BLOB, PRIMARY KEY (gid, seq))")
        count = 0
        started_at = time.perf_counter()
        while time.perf_counter() - started_at < seconds:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO t VALUES (?, ?, ?)", (uuid.uuid4().hex, 0, DATA))
            connection.execute("COMMIT")
            count += 1
        return count / (time.perf_counter() - started_at)


async def rate(store: SqlStore, appender_count: int, seconds: float) -> tuple[float, float]:
    """Appends a second, and how many of them shared a commit on average."""
    journal = Journal(store)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.serve)
        started_at = time.perf_counter()

        async def append() -> None:
            while time.perf_counter() - started_at < seconds:
                for write in life():
                    await journal.append(write)

        async with trio.open_nursery() as appenders:
            for _ in range(appender_count):
                appenders.start_soon(append)
        took_s = time.perf_counter() - started_at
        found = journal.statistics()
        await journal.aclose()
    return found.write_count / took_s, found.write_count / found.commit_count


def fill(store: SqlStore, count: int) -> None:
    """Put finished transactions into a database."""
    for _ in range(0, count, 500):
        lives = [list(life()) for _ in range(500)]
        for writes in zip(*lives, strict=True):
            assert not any(store.commit(writes))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each number of appenders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--finished", type=int, default=0, help="put so many finished transactions in first")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each measurement takes")
    parser.add_argument("--directory", type=Path, default=None, help="where the database goes (its disk is measured)")
    options, _ = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        url = f"sqlite:///{folder}/journal.db"
        if options.finished:
            with closing(open_sqlite(url)) as store:
                fill(store, options.finished)
            print(f"{options.finished:,} finished transactions, {os.path.getsize(f'{folder}/journal.db') >> 20} MiB")
        for appender_count in APPENDER_COUNTS:
            bare = bare_rate(Path(folder), options.seconds / 2)
            per_second, group = trio.run(rate, open_sqlite(url), appender_count, options.seconds)
            print(
                f"{appender_count:4} appenders: {per_second:9,.0f} appends/s, {group:5.1f} a commit;"
                f" bare sqlite3: {bare:6,.0f} rows/s; ratio {per_second / bare:.2f}"
            )


if __name__ == "__main__":
    main()
