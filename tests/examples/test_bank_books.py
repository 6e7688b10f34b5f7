"""The bank's barrier: whatever comes, in whatever order and however often, the balance is what the protocol says."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.bank.books import Books, Call, RefusedByBank

# What can be asked forward, and what takes it back.
PAIRS = [("action", "compensate"), ("try", "cancel"), ("action", "rollback")]

CALLS = st.lists(st.tuples(st.sampled_from(["g-1/01", "g-1/02", "g-2/01"]), st.booleans()), max_size=8)


def call_of(branch: str, op: str) -> Call:
    gid, _, branch_id = branch.partition("/")
    return Call(trans_type="saga", gid=gid, branch_id=branch_id, op=op)


def branches_in_effect(calls: Iterable[tuple[str, bool]]) -> int:
    """How many branches must show in the balance: those that were asked, and never taken back."""
    calls = list(calls)
    return len({branch for branch, forward in calls if forward} - {branch for branch, forward in calls if not forward})


@settings(max_examples=40)  # each makes a database, and a busy disk takes its time
@given(CALLS, st.sampled_from(PAIRS), st.booleans())
def test_any_order_and_repetition_leaves_the_balance_as_the_protocol_says(
    calls: list[tuple[str, bool]], pair: tuple[str, str], pays_in: bool
) -> None:
    with TemporaryDirectory() as folder:
        books = Books(Path(folder, "bank.db"))
        books.open_account("alice", 1_000)
        change, change_back = (books.deposit, books.withdraw) if pays_in else (books.withdraw, books.deposit)
        for done, (branch, forward) in enumerate(calls, 1):
            if forward:
                change(call_of(branch, pair[0]), "alice", 100)
            else:
                change_back(call_of(branch, pair[1]), "alice", 100)
            effect = 100 * branches_in_effect(calls[:done])
            assert books.balances() == {"alice": 1_000 + effect if pays_in else 1_000 - effect}


@settings(max_examples=40)  # each makes a database, and a busy disk takes its time
@given(CALLS, st.integers(0, 300))
def test_a_refused_call_leaves_no_trace_and_may_be_asked_again(calls: list[tuple[str, bool]], balance: int) -> None:
    with TemporaryDirectory() as folder:
        books = Books(Path(folder, "bank.db"))
        books.open_account("alice", balance)
        state = dict.fromkeys(["g-1/01", "g-1/02", "g-2/01"], "untouched")
        for branch, forward in calls:
            match state[branch], forward:
                case "untouched", True if balance < 100:
                    with pytest.raises(RefusedByBank, match=f"alice has {balance} cents, 100 are needed"):
                        books.withdraw(call_of(branch, "action"), "alice", 100)
                case "untouched", True:
                    books.withdraw(call_of(branch, "action"), "alice", 100)
                    state[branch], balance = "done", balance - 100
                case "done", False:
                    books.deposit(call_of(branch, "compensate"), "alice", 100)
                    state[branch], balance = "taken back", balance + 100
                case "untouched", False:
                    books.deposit(call_of(branch, "compensate"), "alice", 100)
                    state[branch] = "taken back"
                case _, True:
                    books.withdraw(call_of(branch, "action"), "alice", 100)
                case _, _:
                    books.deposit(call_of(branch, "compensate"), "alice", 100)
            assert books.balances() == {"alice": balance}


def test_one_call_made_by_many_at_once_has_one_effect(tmp_path: Path) -> None:
    books = Books(tmp_path / "bank.db")
    books.open_account("alice", 1_000)
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(books.withdraw, call_of("g-1/01", "action"), "alice", 100) for _ in range(8)]
    assert [call.result() for call in calls] == [None] * 8
    assert books.balances() == {"alice": 900}


def test_taking_back_is_not_refused_when_the_money_has_been_spent(tmp_path: Path) -> None:
    books = Books(tmp_path / "bank.db")
    books.open_account("bob", 0)
    books.deposit(call_of("g-1/02", "action"), "bob", 100)
    books.withdraw(call_of("g-2/01", "action"), "bob", 100)
    books.withdraw(call_of("g-1/02", "compensate"), "bob", 100)
    assert books.balances() == {"bob": -100}


@pytest.mark.parametrize("change", [Books.withdraw, Books.deposit], ids=["withdraw", "deposit"])
def test_an_unknown_account_is_refused(tmp_path: Path, change: Callable[[Books, Call, str, int], None]) -> None:
    with pytest.raises(RefusedByBank, match="there is no account nobody"):
        change(Books(tmp_path / "bank.db"), call_of("g-1/01", "action"), "nobody", 1)


def test_accounts_outlive_the_process_and_are_opened_once(tmp_path: Path) -> None:
    Books(tmp_path / "bank.db").open_account("alice", 1_000)
    books = Books(tmp_path / "bank.db")
    books.open_account("alice", 5)
    assert books.balances() == {"alice": 1_000}
