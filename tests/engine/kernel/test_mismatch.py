"""What a run that left its history is told: the exact text, for every way to leave it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

import flowtx
from flowtx_dsl.error_codec import ErrorRecord
from flowtx_engine.kernel.events import (
    ARGS_KEPT_MAX,
    AnyFact,
    Attempted,
    Began,
    CallRecord,
    Ended,
    Event,
    Fired,
    Succeeded,
)
from flowtx_engine.kernel.kernel import Kernel

BANK = "/srv/bank.py"

SOURCE = """
async def transfer(tx):
    await tx.step(withdraw, "ann", 30, compensate=withdraw_back)
    await tx.step(deposit, "bob", 31)
    return "ok"


async def waiting(tx):
    await tx.sleep(60)


async def plain(tx): ...


async def booking(tx):
    await tx.step(book, {"nights": 2, "guests": ["ann", "bob"]})


async def transferring(tx):
    await tx.step(move, Order("ann", 30, {"a", "b"}))
"""
"""Compiled under the name of a file of its own, so that the lines in the messages are these."""


@dataclass
class Order:
    account: str
    amount: int
    tags: set[str]


def withdraw(account: str, amount: int) -> str:
    return account * amount


def withdraw_back(account: str, amount: int) -> None: ...


def deposit(account: str, amount: int) -> str:
    return account * amount


def move(order: Order) -> None: ...


NAMES: dict[str, Any] = {
    "withdraw": withdraw,
    "withdraw_back": withdraw_back,
    "deposit": deposit,
    "move": move,
    "Order": Order,
    "book": flowtx.http("http://hotel/book"),
}
exec(compile(SOURCE, BANK, "exec"), NAMES)

Begin = Callable[..., Kernel]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """A run of one of the workflows above, fed some facts."""
    kernels: list[Kernel] = []

    def begin(name: str, *facts: tuple[str, AnyFact], gid: str = "g-42") -> Kernel:
        kernels.append(Kernel(flowtx.workflow(NAMES[name]), b"[]", gid=gid))
        for seq, (address, fact) in enumerate([("", Began(workflow=name)), *facts]):
            kernels[-1].feed(Event(seq=seq, at=1_700_000_000.0, address=address, fact=fact))
        return kernels[-1]

    yield begin
    for kernel in kernels:
        kernel.close()


def call(name: str, *args: object, where: str = f"{BANK}:3") -> CallRecord:
    return CallRecord(name=name, where=where, args=msgspec.Raw(msgspec.json.encode(args)))


def succeeded(name: str, *args: object, where: str = f"{BANK}:3", value: str = '"x"') -> Succeeded:
    return Succeeded(call=call(name, *args, where=where), value=msgspec.Raw(value.encode()))


WITHDREW = ("0", succeeded("withdraw", "ann", 30))


def told(kernel: Kernel, address: str, fact: AnyFact) -> str:
    with pytest.raises(flowtx.NondeterminismError) as caught:
        kernel.feed(Event(seq=kernel.next_seq, at=1_700_000_000.0, address=address, fact=fact))
    text, remedy = str(caught.value).split("\n  -> ")
    assert remedy == flowtx.NondeterminismError.remedy
    return text


def test_a_changed_argument(begin: Begin) -> None:
    assert told(begin("transfer", WITHDREW), "1", succeeded("deposit", "bob", 30, where=f"{BANK}:41")) == (
        "workflow transfer g-42 left its history at 1\n"
        "    recorded: deposit(account='bob', amount=30)       bank.py:41, version 1\n"
        "    asked:    deposit(account='bob', amount=31)       bank.py:4\n"
        "    differs:  amount 30 -> 31"
    )


def test_several_changed_arguments_stand_in_one_line(begin: Begin) -> None:
    assert told(begin("transfer", WITHDREW), "1", succeeded("deposit", "bobby", 7, where="")) == (
        "workflow transfer g-42 left its history at 1\n"
        "    recorded: deposit(account='bobby', amount=7)       unknown line, version 1\n"
        "    asked:    deposit(account='bob', amount=31)        bank.py:4\n"
        "    differs:  account 'bobby' -> 'bob'; amount 7 -> 31"
    )


def test_a_changed_field_deep_inside_an_argument(begin: Begin) -> None:
    recorded = {"account": "ann", "amount": 30, "tags": ["a", "c"]}
    assert told(begin("transferring"), "0", succeeded("move", recorded, where=f"{BANK}:9")).splitlines()[-1] == (
        "    differs:  order.tags[1] 'c' -> 'b'"
    )
    recorded = {"nights": 1, "guests": ["ann", "bob"]}
    booked = succeeded("http://hotel/book", recorded, where=f"{BANK}:9")
    assert told(begin("booking"), "0", booked).splitlines()[-1] == "    differs:  argument 1.nights 1 -> 2"


def test_another_count_of_arguments(begin: Begin) -> None:
    assert told(begin("transfer"), "0", succeeded("withdraw", "ann")) == (
        "workflow transfer g-42 left its history at 0\n"
        "    recorded: withdraw(account='ann')                  bank.py:3, version 1\n"
        "    asked:    withdraw(account='ann', amount=30)       bank.py:3\n"
        "    differs:  the arguments ['ann'] -> ['ann', 30]"
    )


def test_another_call(begin: Begin) -> None:
    assert told(begin("transfer"), "0", succeeded("refund", "ann", 30)) == (
        "workflow transfer g-42 left its history at 0\n"
        "    recorded: refund('ann', 30)                        bank.py:3, version 1\n"
        "    asked:    withdraw(account='ann', amount=30)       bank.py:3\n"
        "    differs:  the call refund -> withdraw"
    )


def test_a_call_where_the_code_asks_for_nothing_more(begin: Begin) -> None:
    assert told(begin("plain"), "0", succeeded("withdraw", "ann", 30)) == (
        "workflow plain g-42 left its history at 0\n"
        "    recorded: withdraw('ann', 30)       bank.py:3, version 1\n"
        "    asked:    nothing more: the workflow has ended"
    )


def test_a_call_at_an_address_where_nothing_waits(begin: Begin) -> None:
    assert told(begin("transfer"), "1", succeeded("deposit", "bob", 30)) == (
        "workflow transfer g-42 left its history at 1\n"
        "    recorded: deposit('bob', 30)                            bank.py:3, version 1\n"
        "    asked:    withdraw(account='ann', amount=30) at 0       bank.py:3"
    )


def test_another_length_of_a_sleep(begin: Begin) -> None:
    fired = Fired(until_at=1_700_000_030.0, where=f"{BANK}:9")
    assert told(begin("waiting"), "0", fired) == (
        "workflow waiting g-42 left its history at 0\n"
        "    recorded: sleep until 2023-11-14T22:13:50+00:00       bank.py:9, version 1\n"
        "    asked:    sleep until 2023-11-14T22:14:20+00:00       bank.py:9\n"
        "    differs:  until 2023-11-14T22:13:50+00:00 -> 2023-11-14T22:14:20+00:00"
    )


def test_a_sleep_where_a_step_was_and_a_step_where_a_sleep_was(begin: Begin) -> None:
    assert told(begin("transfer"), "0", Fired(until_at=1e300)) == (
        "workflow transfer g-42 left its history at 0\n"
        "    recorded: sleep until 1e+300                       unknown line, version 1\n"
        "    asked:    withdraw(account='ann', amount=30)       bank.py:3\n"
        "    differs:  the call sleep -> withdraw"
    )
    assert told(begin("waiting"), "0", succeeded("withdraw", "ann", 30)).endswith("the call withdraw -> sleep")
    # A function may well be called sleep; it is no timer all the same.
    assert "differs:  the call sleep -> sleep" in told(begin("waiting"), "0", succeeded("sleep"))


def test_a_long_argument_is_compared_by_its_digest(begin: Begin) -> None:
    recorded = CallRecord(name="withdraw", where=f"{BANK}:3", digest="ab" * 32, size=ARGS_KEPT_MAX + 1)
    assert told(begin("transfer"), "0", Succeeded(call=recorded)) == (
        "workflow transfer g-42 left its history at 0\n"
        "    recorded: withdraw(4097 bytes, sha256 abababababab)       bank.py:3, version 1\n"
        "    asked:    withdraw(account='ann', amount=30)              bank.py:3\n"
        "    differs:  the arguments (4097 bytes -> 10 bytes)"
    )


def test_an_attempt_of_another_call_is_no_attempt_of_this_one(begin: Begin) -> None:
    attempted = Attempted(
        call=call("deposit", "bob"),
        outcome="unknown",
        error=ErrorRecord(type="a:B", text=""),
        attempt=1,
        fault_count=1,
        retry_at=0.0,
    )
    assert "differs:  the call deposit -> withdraw" in told(begin("transfer"), "0", attempted)


def test_another_end(begin: Begin) -> None:
    done = (WITHDREW, ("1", succeeded("deposit", "bob", 31)))
    assert told(begin("transfer", *done), "", Ended(status="succeed", value=msgspec.Raw(b'"fine"'))) == (
        "workflow transfer g-42 left its history at its end\n"
        "    recorded: succeed with 'fine'       version 1\n"
        "    asked:    succeed with 'ok'"
    )
    failed = Ended(status="failed", error=ErrorRecord(type="builtins:ValueError", text="no"))
    assert told(begin("transfer", *done), "", failed) == (
        "workflow transfer g-42 left its history at its end\n"
        "    recorded: failed with ValueError: no       version 1\n"
        "    asked:    succeed with 'ok'"
    )
    assert told(begin("transfer", WITHDREW), "", Ended(status="succeed", value=msgspec.Raw(b'"ok"'))) == (
        "workflow transfer g-42 left its history at its end\n"
        "    recorded: succeed with 'ok'                            version 1\n"
        "    asked:    deposit(account='bob', amount=31) at 1       bank.py:4"
    )


def test_a_result_that_no_longer_fits(begin: Begin) -> None:
    assert told(begin("transfer"), "0", succeeded("withdraw", "ann", 30, value="5")) == (
        "workflow transfer g-42 cannot read its history at 0\n"
        "    asked:    withdraw(account='ann', amount=30)       bank.py:3\n"
        "    recorded: the result of withdraw does not fit str: Expected `str`, got `int`"
    )


def test_the_version_is_the_one_the_run_began_with() -> None:
    @flowtx.workflow(version="2")
    async def transfer(tx: flowtx.Tx) -> None: ...

    kernel = Kernel(transfer, b"[]", gid="g")
    kernel.feed(Event(seq=0, at=0.0, address="", fact=Began(workflow="transfer", version="1")))
    assert "version 1\n" in told(kernel, "0", succeeded("withdraw"))


@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        ("transferring", call("move", {"tags": ["b", "a"], "amount": 30, "account": "ann"})),
        ("booking", call("http://hotel/book", {"guests": ["ann", "bob"], "nights": 2.0})),
    ],
)
def test_the_order_of_sets_and_keys_is_no_difference(begin: Begin, name: str, recorded: CallRecord) -> None:
    assert begin(name, ("0", Succeeded(call=recorded))).phase == "ended"


def test_the_order_of_keys_is_no_difference_in_a_long_argument_either() -> None:
    book = flowtx.http("http://hotel/book")

    def booking(keys: str) -> flowtx.Workflow[[], None]:
        @flowtx.workflow(name="booking")
        async def booking(tx: flowtx.Tx) -> None:
            await tx.step(book, dict.fromkeys(keys, "x" * ARGS_KEPT_MAX))

        return booking

    began = Event(seq=0, at=0.0, address="", fact=Began(workflow="booking"))
    live, again = Kernel(booking("ab"), b"[]", gid="g"), Kernel(booking("ba"), b"[]", gid="g")
    live.feed(began)
    again.feed(began)
    fact = Succeeded(call=live.waiting[0].record)
    assert fact.call.digest
    again.feed(Event(seq=1, at=0.0, address="0", fact=fact))
    assert again.phase == "ended"
    live.close()


def test_long_texts_are_cut(begin: Begin) -> None:
    text = told(begin("transfer"), "0", succeeded("withdraw", "x" * 3000, 30))
    assert max(map(len, text.splitlines())) < 600
