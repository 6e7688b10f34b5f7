"""A process that is killed, or whose disk is full, in the middle of a large write: nothing is half there."""

from __future__ import annotations

import os
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio

ROOT = Path(__file__).parents[2]
MEGABYTES = 30
FULL_AT_BLOCKS = 20_000
"""The largest file the process may write, in blocks of 512 bytes: about ten megabytes."""

PROGRAM = """
import sys
import flowtx
import trio


def make(megabytes: int) -> str:
    return "x" * (megabytes * 1_000_000)


def measure(text: str) -> int:
    return len(text)


@flowtx.workflow
async def large(tx: flowtx.Tx, megabytes: int) -> str:
    text = await tx.step(make, megabytes)
    return f"{await tx.step(measure, text)} {text[:3]}"


@flowtx.workflow
async def small(tx: flowtx.Tx) -> int:
    return await tx.step(measure, "small")


async def main(path: str, megabytes: str) -> None:
    limits = flowtx.EngineLimits(payload_bytes_max=100_000_000, heartbeat_s=0.2, journal_pause_max_s=0.2)
    async with flowtx.open(f"sqlite:///{path}", workflows=[large, small], limits=limits) as engine:
        try:
            await engine.start(large, int(megabytes), gid="large")
            print("started", flush=True)
            print(await engine.wait("large", type=str), flush=True)
            await trio.sleep_forever()
        except flowtx.FlowtxError as error:
            print(error, flush=True)


trio.run(main, *sys.argv[1:])
"""


@asynccontextmanager
async def running(db: Path, log: Path, *, shell_before: str = "") -> AsyncGenerator[trio.Process]:
    """A process with an engine that runs ``large``; killed on leaving."""
    program = db.with_suffix(".py")
    program.write_text(PROGRAM)
    command = shlex.join([sys.executable, str(program), str(db), str(MEGABYTES)])
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in (".", "dsl", "engine"))}
    with log.open("ab") as stderr:
        process = await trio.lowlevel.open_process(
            ["sh", "-c", f"{shell_before}exec {command}"], stdout=subprocess.PIPE, stderr=stderr, env=environ
        )
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def said(process: trio.Process, what: bytes) -> None:
    """Read what it prints until it has said this."""
    assert process.stdout is not None
    heard = b""
    while what not in heard:
        more = await process.stdout.receive_some()
        assert more, f"the process ended; it said {heard!r}"
        heard += more


def asked(db: Path, query: str) -> int:
    """A number from the database; 0 while there is no table."""
    with closing(sqlite3.connect(db, timeout=10)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'flowtx_payloads_state'").fetchone():
            return 0
        (found,) = connection.execute(query).fetchone()
    assert isinstance(found, int)
    return found


async def until(is_so: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not is_so():  # noqa: ASYNC110 - another process makes it so
            await trio.sleep(0.005)


COMING = "SELECT count(*) FROM flowtx_pieces JOIN flowtx_payloads ON id = payload_id WHERE state = 'coming'"
NAMELESS = """
SELECT count(*) FROM flowtx_pieces LEFT JOIN flowtx_payloads ON id = payload_id WHERE state IS NULL OR state <> 'counts'
"""
COUNTING = "SELECT count(*) FROM flowtx_pieces JOIN flowtx_payloads ON id = payload_id WHERE state = 'counts'"
NAMED = "SELECT count(*) FROM flowtx_journal WHERE hex(substr(data, 1, 1)) = '02'"


async def check_that_it_is_finished(db: Path, log: Path) -> None:
    """Another process finishes it, and leaves no piece that no event names."""
    async with running(db, log) as process:
        with trio.fail_after(60):
            await said(process, f"{MEGABYTES * 1_000_000} xxx".encode())
        await until(lambda: asked(db, NAMELESS) == 0)
        assert asked(db, COUNTING) == -(-(MEGABYTES * 1_000_000) // (512 * 1024))
        assert asked(db, NAMED) == asked(db, "SELECT count(*) FROM flowtx_payloads") == 1


@pytest.mark.parametrize("piece_count", [1, 20, 50])
async def test_a_process_that_is_killed_in_the_middle_of_a_large_write_leaves_nothing_half_there(
    tmp_path: Path, piece_count: int
) -> None:
    db, log = tmp_path / "killed.db", tmp_path / "log"
    async with running(db, log) as process:
        await until(lambda: asked(db, COMING) >= piece_count)
        process.kill()
        await process.wait()
    assert asked(db, NAMED) == asked(db, COUNTING) == 0
    assert asked(db, NAMELESS) >= piece_count
    await check_that_it_is_finished(db, log)


async def test_a_disk_that_fills_up_in_the_middle_of_a_large_write_leaves_nothing_half_there(tmp_path: Path) -> None:
    db, log = tmp_path / "full.db", tmp_path / "log"
    async with running(db, log, shell_before=f"ulimit -f {FULL_AT_BLOCKS}; ") as process:
        with trio.fail_after(60):
            await said(process, b"started")
        await until(lambda: b"may not be durable" in log.read_bytes())
        assert process.poll() is None, "a full disk does not end the process"
        assert asked(db, NAMED) == asked(db, COUNTING) == 0
    await check_that_it_is_finished(db, log)
