"""One table, two languages' worth of rules: the barrier of DTM's own Python client, unmodified, beside ours."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flowtx.client.errors import Duplicated
from flowtx_dsl.errors import Refused
from tests.flowtx.client.conftest import Bank, made_bank

# dtmcli has no types.
dtmcli_barrier: Any = importlib.import_module("dtmcli.barrier")
dtmcli_utils: Any = importlib.import_module("dtmcli.utils")

Actor = Callable[[Bank, str], None]


@pytest.fixture
def mysql_bank(tmp_path: Path) -> Iterator[Bank]:
    """The only database that dtmcli speaks."""
    with made_bank("mysql", tmp_path) as bank:
        yield bank


def place(op: str) -> tuple[str, str]:
    return ("msg", "00") if op == "msg" else ("tcc", "01")


@contextmanager
def cursor(bank: Bank) -> Generator[Any]:
    pooled: Any = bank.engine.raw_connection()
    try:
        yield pooled.cursor()
    finally:
        pooled.close()


def theirs(bank: Bank, op: str) -> None:
    trans_type, branch_id = place(op)

    def business(same: Any) -> None:
        same.execute(f"insert into {bank.ledger} (note) values ('{op} by them')")

    with cursor(bank) as same:
        dtmcli_barrier.BranchBarrier(trans_type, bank.gid, branch_id, op).call(same, business)


def ours(bank: Bank, op: str) -> None:
    trans_type, branch_id = place(op)
    with bank.open("plain driver") as connection:
        barrier = bank.barrier(op, branch_id=branch_id, trans_type=trans_type)
        barrier.call(connection, lambda same: bank.note(same, f"{op} by us"))


@pytest.mark.parametrize(("first", "second"), [(ours, theirs), (theirs, ours)])
def test_what_one_did_the_other_does_not_repeat_and_takes_back(mysql_bank: Bank, first: Actor, second: Actor) -> None:
    for actor, op in [(first, "try"), (second, "try"), (second, "cancel"), (first, "cancel")]:
        actor(mysql_bank, op)
    assert [note.split()[0] for note in mysql_bank.notes()] == ["try", "cancel"]


@pytest.mark.parametrize(("first", "second"), [(ours, theirs), (theirs, ours)])
def test_what_one_found_missing_the_other_does_too_late(mysql_bank: Bank, first: Actor, second: Actor) -> None:
    first(mysql_bank, "cancel")
    second(mysql_bank, "try")
    assert mysql_bank.notes() == []


def test_each_finds_the_message_that_the_other_did(mysql_bank: Bank) -> None:
    ours(mysql_bank, "msg")
    with cursor(mysql_bank) as same:
        dtmcli_barrier.BranchBarrier("msg", mysql_bank.gid, "00", "msg").query_prepared(same)
    with mysql_bank.open("plain driver") as connection:
        mysql_bank.barrier("msg", branch_id="00", trans_type="msg").query_prepared(connection)
    with pytest.raises(Exception, match="msg duplicate error"):
        theirs(mysql_bank, "msg")


def test_each_keeps_to_what_the_other_gave_up(mysql_bank: Bank) -> None:
    with cursor(mysql_bank) as same, pytest.raises(dtmcli_utils.DTMFailureError):
        dtmcli_barrier.BranchBarrier("msg", mysql_bank.gid, "00", "msg").query_prepared(same)
    with mysql_bank.open("plain driver") as connection, pytest.raises(Refused):
        mysql_bank.barrier("msg", branch_id="00", trans_type="msg").query_prepared(connection)
    with pytest.raises(Duplicated):
        ours(mysql_bank, "msg")
