"""The bank over HTTP: what its answers say, and that a closed gate keeps deposits waiting."""

from pathlib import Path

import pytest
import trio
from quart.typing import TestClientProtocol as Client

from examples.bank.books import Books
from examples.bank.service import make_app

QUERY = "gid=g-1&branch_id=01&trans_type=saga"
GOOD = b'{"account": "alice", "cents": 1}'


@pytest.fixture
def bank(tmp_path: Path) -> Client:
    """A bank where alice has 1000 cents."""
    books = Books(tmp_path / "bank.db")
    books.open_account("alice", 1_000)
    return make_app("A", books).test_client()


async def pay(bank: Client, path: str, op: str, *, account: str = "alice", cents: int = 300) -> int:
    answer = await bank.post(f"{path}?{QUERY}&op={op}", json={"account": account, "cents": cents})
    return answer.status_code


async def balance_of_alice(bank: Client) -> int:
    balances: dict[str, int] = await (await bank.get("/balance")).get_json()
    return balances["alice"]


async def test_a_withdrawal_is_made_once_and_taken_back_once(bank: Client) -> None:
    for _ in range(2):
        assert await pay(bank, "/withdraw", "action") == 200
        assert await balance_of_alice(bank) == 700
    for _ in range(2):
        assert await pay(bank, "/withdraw-back", "compensate") == 200
        assert await balance_of_alice(bank) == 1_000
    assert await pay(bank, "/withdraw", "action") == 200
    assert await balance_of_alice(bank) == 1_000


async def test_a_deposit_is_made_once_and_taken_back_once(bank: Client) -> None:
    assert [await pay(bank, "/deposit", "action"), await balance_of_alice(bank)] == [200, 1_300]
    assert [await pay(bank, "/deposit-back", "compensate"), await balance_of_alice(bank)] == [200, 1_000]


@pytest.mark.parametrize(("account", "cents"), [("alice", 1_001), ("nobody", 1)])
async def test_a_refusal_is_409_and_says_failure(bank: Client, account: str, cents: int) -> None:
    answer = await bank.post(f"/withdraw?{QUERY}&op=action", json={"account": account, "cents": cents})
    assert answer.status_code == 409
    assert (await answer.get_json())["dtm_result"] == "FAILURE"
    assert await balance_of_alice(bank) == 1_000


@pytest.mark.parametrize(
    ("url", "body", "complaint"),
    [
        ("/withdraw?gid=g-1&branch_id=01", GOOD, "the query lacks op, trans_type"),
        (f"/withdraw?{QUERY}&op=compensate", GOOD, "/withdraw does not do op=compensate"),
        (f"/withdraw-back?{QUERY}&op=action", GOOD, "does not do op=action"),
        (f"/withdraw?{QUERY}&op=action", b'{"account": "alice"}', "missing required field `cents`"),
        (f"/withdraw?{QUERY}&op=action", b"", "the body is not a payment"),
        (f"/withdraw?{QUERY}&op=action", b'{"account": "alice", "cents": -1}', "-1 cents cannot be paid"),
    ],
)
async def test_what_cannot_be_meant_is_no_outcome_at_all(bank: Client, url: str, body: bytes, complaint: str) -> None:
    answer = await bank.post(url, data=body)
    assert answer.status_code == 400
    assert complaint in (await answer.get_json())["message"]
    assert await balance_of_alice(bank) == 1_000


async def test_a_closed_gate_keeps_deposits_waiting_until_it_opens(bank: Client) -> None:
    await bank.post("/pause")
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pay, bank, "/deposit", "action")
            while (await (await bank.get("/pause")).get_json())["waiting"] != 1:
                await trio.lowlevel.checkpoint()
            assert await balance_of_alice(bank) == 1_000
            await bank.post("/release")
    assert await balance_of_alice(bank) == 1_300
