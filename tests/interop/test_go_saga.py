"""Sagas of DTM's own Go client, unmodified.

Each test runs a transaction in a bank written with that client (``tests/interop/go``) and looks at three things: what
the client was told, which calls its participants got, and what the server says became of it.
"""

from __future__ import annotations

import pytest

from tests.compat.dtm import Dtm
from tests.compat.orders import new_gid
from tests.interop.bank import Bank

pytestmark = pytest.mark.timeout(600)  # the first test builds the bank


@pytest.mark.parametrize("wait", ["yes", "no"])
async def test_a_saga_succeeds(bank: Bank, dtm: Dtm, wait: str) -> None:
    gid = new_gid()
    assert (await bank.run("saga", gid, wait=wait)).error == ""
    await dtm.until(gid, "succeed")
    assert await bank.calls(gid) == ["debit 01 action", "credit 02 action"]


async def test_a_refused_saga_is_taken_back(bank: Bank, dtm: Dtm) -> None:
    gid = new_gid()
    assert "FAILURE" in (await bank.run("saga", gid, answer="refuse", wait="yes")).error
    await dtm.until(gid, "failed")
    assert await bank.calls(gid) == [
        "debit 01 action",
        "credit 02 action",
        "credit-back 02 compensate",
        "debit-back 01 compensate",
    ]
    assert await dtm.rows(gid) == "S S S F"


@pytest.mark.parametrize("answer", ["ongoing-once", "fail-once"])
async def test_a_saga_is_repeated_until_it_is_through(bank: Bank, dtm: Dtm, answer: str) -> None:
    gid = new_gid()
    await bank.run("saga", gid, answer=answer)
    await dtm.until(gid, "succeed")
    assert (await bank.calls(gid)).count("credit 02 action") == 2


async def test_a_compensation_is_repeated_until_it_is_through(bank: Bank, dtm: Dtm) -> None:
    gid = new_gid()
    await bank.run("saga", gid, answer="refuse", back="fail-once")
    await dtm.until(gid, "failed")
    assert (await bank.calls(gid)).count("debit-back 01 compensate") == 2


async def test_a_concurrent_saga_keeps_its_orders(bank: Bank, dtm: Dtm) -> None:
    gid = new_gid()
    assert (await bank.run("saga-concurrent", gid, wait="yes")).error == ""
    calls = await bank.calls(gid)
    assert sorted(calls) == ["a 01 action", "b 02 action", "c 03 action", "d 04 action"]
    assert calls.index("d 04 action") > max(calls.index("a 01 action"), calls.index("b 02 action"))
    refused = new_gid()
    await bank.run("saga-concurrent", refused, answer="refuse")
    await dtm.until(refused, "failed")
    calls = await bank.calls(refused)
    assert {f"{name}-back 0{number} compensate" for number, name in enumerate("abcd", 1)} <= set(calls)
    assert calls.index("d-back 04 compensate") < calls.index("a-back 01 compensate")
