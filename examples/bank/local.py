"""The same bank as ordinary functions on a local SQLite file: steps of a workflow that need no service.

The law of this file: a step may be called twice, because a crash can come between the bank's commit and the journal's.
So each writes its key in the same local transaction as the balance, and does nothing when the key is there already.
"""

import os
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager

import flowtx

SCHEMA = """
CREATE TABLE IF NOT EXISTS account (name TEXT PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS done (key TEXT PRIMARY KEY);
"""


def open_bank(accounts: Mapping[str, int]) -> None:
    """Make the bank's file, named by the environment variable BANK_DB, and open accounts with balances in cents."""
    with closing(sqlite3.connect(_file())) as db:
        db.executescript(SCHEMA)
        db.executemany("INSERT OR IGNORE INTO account VALUES (?, ?)", accounts.items())
        db.commit()


def balances() -> dict[str, int]:
    """Every account and its balance in cents."""
    with _transaction() as db:
        return dict(db.execute("SELECT name, balance FROM account ORDER BY name").fetchall())


def withdraw(account: str, cents: int) -> None:
    """Take cents from an account."""
    with _transaction() as db:
        if _is_first_time(db, flowtx.current_step().key):
            _change(db, account, -cents)


def withdraw_back(account: str, cents: int) -> None:
    """Take a withdrawal back."""
    with _transaction() as db:
        if _has_something_to_take_back(db):
            _change(db, account, cents)


def deposit(account: str, cents: int) -> None:
    """Put cents into an account."""
    with _transaction() as db:
        if _is_first_time(db, flowtx.current_step().key):
            _change(db, account, cents)


def deposit_back(account: str, cents: int) -> None:
    """Take a deposit back, even when the money has been spent meanwhile: a compensation cannot be refused."""
    with _transaction() as db:
        if _has_something_to_take_back(db):
            _change(db, account, -cents, may_overdraw=True)


def _change(db: sqlite3.Connection, account: str, cents: int, *, may_overdraw: bool = False) -> None:
    row = db.execute("SELECT balance FROM account WHERE name = ?", (account,)).fetchone()
    if row is None:
        raise flowtx.Refused(f"there is no account {account}")
    if row[0] + cents < 0 and not may_overdraw:
        raise flowtx.Refused(f"{account} has {row[0]} cents, {-cents} are needed")
    db.execute("UPDATE account SET balance = balance + ? WHERE name = ?", (cents, account))


def _is_first_time(db: sqlite3.Connection, key: str) -> bool:
    return db.execute("INSERT OR IGNORE INTO done (key) VALUES (?)", (key,)).rowcount == 1


def _has_something_to_take_back(db: sqlite3.Connection) -> bool:
    """True when the step happened and was not yet taken back.

    A compensation's key is its step's key with "/c" behind it. Writing the step's key too stops the step, should it
    still be on its way.
    """
    key = flowtx.current_step().key
    never_came = _is_first_time(db, key.removesuffix("/c"))
    return _is_first_time(db, key) and not never_came


@contextmanager
def _transaction() -> Generator[sqlite3.Connection]:
    """One local transaction: committed at the end, rolled back by any exception."""
    with closing(sqlite3.connect(_file(), isolation_level=None, timeout=10)) as db:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")


def _file() -> str:
    return os.environ.get("BANK_DB", "bank.db")
