"""Nothing that the journal acknowledged is lost when its process is killed."""

import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from flowtx_engine.journal.sql import open_sqlite

APPENDER = """
import os, sys, trio
from flowtx.testing.journal_writes import begin, end, step
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.sql import open_sqlite

url, life = sys.argv[1:]

async def append(journal, name):
    for number in range(1_000_000):
        gid = f"{life}-{name}-{number}"
        for write in (begin(gid, row_count=2), step(gid, 2), end(gid, 3)):
            await journal.append(write)
            os.write(1, f"{gid} {write.rows[-1].seq}\\n".encode())

async def main():
    journal = Journal(open_sqlite(url))
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.serve)
        for name in range(16):
            nursery.start_soon(append, journal, name)

trio.run(main)
"""

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def acknowledged_before_a_kill(url: str, life: int, line_count: int) -> Iterator[tuple[str, int]]:
    """Kill an appending process after so many lines; everything it said before that, to the last whole line."""
    child = subprocess.Popen([sys.executable, "-c", APPENDER, url, str(life)], stdout=subprocess.PIPE, env=ENVIRONMENT)
    with child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(line_count)]
        child.kill()
        lines += child.stdout.readlines()
    assert child.returncode == -9
    for line in lines:
        if line.endswith(b"\n"):
            gid, seq = line.split()
            yield gid.decode(), int(seq)


def test_what_was_acknowledged_before_kill_9_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    dice = random.Random(9)
    last_seqs: dict[str, int] = {}
    for life in range(6):
        last_seqs |= dict(acknowledged_before_a_kill(f"sqlite:///{path}", life, dice.randint(1, 800)))
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        with closing(open_sqlite(f"sqlite:///{path}")) as store:
            for gid, last_seq in last_seqs.items():
                seqs = [row.seq for row in store.history(gid)]
                assert seqs == list(range(len(seqs))), f"{gid} has gaps: {seqs}"
                assert len(seqs) > last_seq, f"{gid} lost rows: acknowledged up to {last_seq}, there are {seqs}"
                found = store.transaction(gid)
                assert found is not None
                assert found.is_final == (len(seqs) == 4), f"{found!r} has half of its last write"
    assert len(last_seqs) > 100, "hardly anything was tried"
