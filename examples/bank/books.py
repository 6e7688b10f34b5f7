"""A bank's books: accounts in SQLite, guarded by a barrier.

The law of this file: a balance changes in the same local transaction as the barrier row that allowed it. So a call that
is repeated, takes back what never happened, or comes after it was taken back, changes nothing, however often it comes.
Amounts are whole cents.
"""

import sqlite3
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

SCHEMA = """
CREATE TABLE IF NOT EXISTS account (name TEXT PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS barrier (
    trans_type TEXT NOT NULL, gid TEXT NOT NULL, branch_id TEXT NOT NULL, op TEXT NOT NULL, barrier_id TEXT NOT NULL,
    reason TEXT NOT NULL, UNIQUE (gid, branch_id, op, barrier_id)
);
"""
NOTE = "INSERT OR IGNORE INTO barrier (trans_type, gid, branch_id, op, barrier_id, reason) VALUES (?, ?, ?, ?, '01', ?)"

# What each op takes back.
ORIGIN: Mapping[str, str] = MappingProxyType({"cancel": "try", "compensate": "action", "rollback": "action"})


class RefusedByBank(Exception):
    """The bank's final "no": the account is unknown, or has not the funds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Which call this is: the four things that every participant is told."""

    trans_type: str
    gid: str
    branch_id: str
    op: str


class Books:
    """The accounts of one bank, in one SQLite file. Every method is a local transaction and may run in any thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with closing(sqlite3.connect(file)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(SCHEMA)

    def open_account(self, name: str, cents: int) -> None:
        """Open an account with a first balance; one that exists is left as it is."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO account (name, balance) VALUES (?, ?)", (name, cents))

    def balances(self) -> dict[str, int]:
        """Every account and its balance in cents."""
        with self._transaction() as db:
            return dict(db.execute("SELECT name, balance FROM account ORDER BY name").fetchall())

    def withdraw(self, call: Call, name: str, cents: int) -> None:
        """Take cents from an account; raises ``RefusedByBank``."""
        self._change(call, name, -cents)

    def deposit(self, call: Call, name: str, cents: int) -> None:
        """Put cents into an account; raises ``RefusedByBank``."""
        self._change(call, name, cents)

    def _change(self, call: Call, name: str, cents: int) -> None:
        with self._transaction() as db:
            if not _lets_pass(db, call):
                return
            row = db.execute("SELECT balance FROM account WHERE name = ?", (name,)).fetchone()
            if row is None:  # raising rolls the barrier's rows back too: a refused call has left no trace
                raise RefusedByBank(f"there is no account {name}")
            # Taking back is never refused, even when the money has been spent meanwhile.
            if row[0] + cents < 0 and call.op not in ORIGIN:
                raise RefusedByBank(f"{name} has {row[0]} cents, {-cents} are needed")
            db.execute("UPDATE account SET balance = balance + ? WHERE name = ?", (cents, name))

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        """One local transaction: committed at the end, rolled back by any exception."""
        with closing(sqlite3.connect(self._file, isolation_level=None, timeout=10)) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")


def _lets_pass(db: sqlite3.Connection, call: Call) -> bool:
    """The barrier: True when this call is the first of its kind and has something to do.

    To take back is first to note the call that is taken back. If that note is new, the call never came: there is
    nothing to take back, and the note will stop the call should it still be on its way.
    """
    origin = ORIGIN.get(call.op)
    never_came = origin is not None and _note(db, call, origin)
    is_new = _note(db, call, call.op)
    return is_new and not never_came


def _note(db: sqlite3.Connection, call: Call, op: str) -> bool:
    """Write one row of the barrier; False when it was there already."""
    row = (call.trans_type, call.gid, call.branch_id, op, call.op)
    return db.execute(NOTE, row).rowcount == 1
