"""The transfer between two banks over HTTP, as a Python workflow: all of the money moves, or none."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType]  # its WSGI half is not typed

import flowtx
from examples.bank.books import Books
from examples.bank.saga import transfer_saga
from examples.bank.service import make_app
from examples.bank.transfer import Transfer, transfer_between_banks

Bank = tuple[str, Books]


@pytest.fixture
async def banks(tmp_path: Path) -> AsyncIterator[tuple[Bank, Bank]]:
    """Two banks that really listen: their addresses and books."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.loglevel = "WARNING"
    config.graceful_timeout = 0.1
    opened: list[Bank] = []
    async with trio.open_nursery() as nursery:
        for name, account in {"A": "alice", "B": "bob"}.items():
            books = Books(tmp_path / f"{name}.db")
            books.open_account(account, 1_000)
            (address,) = await nursery.start(partial(serve, make_app(name, books), config))
            opened.append((address, books))
        yield opened[0], opened[1]
        nursery.cancel_scope.cancel()


async def test_the_money_moves_from_bank_to_bank(banks: tuple[Bank, Bank], tmp_path: Path) -> None:
    (address_a, books_a), (address_b, books_b) = banks
    t = Transfer(payer="alice", payee="bob", cents=300)
    async with flowtx.open(f"sqlite:///{tmp_path / 'flowtx.db'}") as engine:
        result = await engine.run(transfer_between_banks, t, address_a, address_b, gid="t-1")
    assert result == "alice paid bob 300 cents"
    assert (books_a.balances(), books_b.balances()) == ({"alice": 700}, {"bob": 1_300})


async def test_what_the_second_bank_refuses_the_first_takes_back(banks: tuple[Bank, Bank], tmp_path: Path) -> None:
    (address_a, books_a), (address_b, books_b) = banks
    t = Transfer(payer="alice", payee="carol", cents=300)
    async with flowtx.open(f"sqlite:///{tmp_path / 'flowtx.db'}") as engine:
        with pytest.raises(flowtx.TransactionFailed, match="there is no account carol"):
            await engine.run(transfer_between_banks, t, address_a, address_b, gid="t-1")
        history = await engine.history("t-1")
    assert [event.address for event in history] == ["", "0", "1", "0/c", ""]
    assert (books_a.balances(), books_b.balances()) == ({"alice": 1_000}, {"bob": 1_000})


def test_the_saga_has_a_body_for_each_step() -> None:
    saga = transfer_saga("t-1", payer_bank="http://a", payee_bank="http://b", payer="alice", payee="bob", cents=300)
    assert saga["steps"] == [
        {"action": "http://a/withdraw", "compensate": "http://a/withdraw-back"},
        {"action": "http://b/deposit", "compensate": "http://b/deposit-back"},
    ]
    assert saga["payloads"] == ['{"account": "alice", "cents": 300}', '{"account": "bob", "cents": 300}']
