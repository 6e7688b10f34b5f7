"""Every command on a database that is bad: one message, the exit code that says so, and no traceback."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Call = Callable[..., Result]
Bad = Callable[[Path], Any]

DB = "bad.db"
BEGIN = ("cli_bank:transfer", "--gid", "g", "--input", '{"payer": "a", "payee": "b"}')


@contextmanager
def garbage(path: Path) -> Generator[None]:
    path.write_bytes(b"Dear diary, " * 1000)
    yield


@contextmanager
def directory(path: Path) -> Generator[None]:
    path.unlink()
    path.mkdir()
    yield


@contextmanager
def bad_header(path: Path) -> Generator[None]:
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])
    yield


@contextmanager
def bad_pages(path: Path) -> Generator[None]:
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * (size - 100))
    yield


@contextmanager
def bad_end(path: Path) -> Generator[None]:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 + 17)
    yield


@contextmanager
def other_tables(path: Path) -> Generator[None]:
    with closing(sqlite3.connect(path)) as other:
        for (name,) in other.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if "version" not in name and "schema" not in name:
                other.execute(f'DROP TABLE "{name}"')
                other.execute(f'CREATE TABLE "{name}" (what TEXT)')
        other.commit()
    yield


@contextmanager
def locked(path: Path) -> Generator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        yield


BAD: dict[str, Bad] = {
    "garbage": garbage,
    "directory": directory,
    "bad header": bad_header,
    "bad pages": bad_pages,
    "bad end": bad_end,
    "other tables": other_tables,
    "locked": locked,
}

COMMANDS: dict[str, tuple[str, ...]] = {
    "list": ("list",),
    "list as JSON": ("list", "--json"),
    "show": ("show", "g"),
    "run": ("run", *BEGIN),
    "start": ("start", *BEGIN),
    "signal": ("signal", "g", "name"),
    "cancel": ("cancel", "g"),
    "stop": ("stop", "g"),
    "decide": ("decide", "g", "0", "retry"),
    "schedule list": ("schedule", "list"),
    "schedule remove": ("schedule", "remove", "s"),
    "db show": ("db", "show"),
    "db upgrade": ("db", "upgrade"),
    "serve": ("serve", "--bind", "127.0.0.1:0", "--grpc-bind", "off", "--log-level", "error"),
}

LONG = {"locked": ("list", "cancel")}
"""What a lock is waited for takes seconds, so a command that reads and one that writes stand for all."""
CASES = [
    pytest.param(BAD[bad], COMMANDS[command], id=f"{command}, {bad}")
    for bad in BAD
    for command in LONG.get(bad, COMMANDS)
    if (command, bad) != ("db upgrade", "other tables")  # it looks at the version alone
]


@pytest.mark.parametrize(("bad", "arguments"), CASES)
def test_a_command_on_a_bad_database_says_so_and_shows_no_traceback(
    call: Call, folder: Path, bad: Bad, arguments: tuple[str, ...]
) -> None:
    url = f"sqlite:///{DB}"
    assert call("db", "upgrade", "--db", url).exit_code == 0
    with bad(folder / DB):
        result = call(*arguments, "--db", url)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 3, result.output
    assert result.output.startswith("flowtx: ")
    assert "\n  -> " in result.output, "what to do"
    assert "Traceback" not in result.output
