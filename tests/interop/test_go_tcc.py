"""TCC of DTM's own Go client, unmodified.

Each test runs a transaction in a bank written with that client (``tests/interop/go``) and looks at three things: what
the client was told, which calls its participants got, and what the server says became of it.
"""

from __future__ import annotations

import pytest

from tests.compat.dtm import Dtm
from tests.compat.orders import new_gid
from tests.interop.bank import Bank

pytestmark = pytest.mark.timeout(600)  # the first test builds the bank


async def test_115_a_tcc_is_confirmed(bank: Bank, dtm: Dtm) -> None:
    gid = new_gid()
    assert (await bank.run("tcc", gid)).error == ""
    await dtm.until(gid, "succeed")
    assert await bank.calls(gid) == [
        "debit 01 try",
        "credit 02 try",
        "credit-confirm 02 confirm",
        "debit-confirm 01 confirm",
    ]


async def test_116_a_refused_try_cancels_every_branch(bank: Bank, dtm: Dtm) -> None:
    gid = new_gid()
    assert "FAILURE" in (await bank.run("tcc", gid, answer="refuse")).error
    found = await dtm.until(gid, "failed")
    assert (await bank.calls(gid))[2:] == ["credit-cancel 02 cancel", "debit-cancel 01 cancel"]
    assert "FAILURE" in found["rollback_reason"]


async def test_a_confirm_is_repeated_until_it_is_through(bank: Bank, dtm: Dtm) -> None:
    gid = new_gid()
    await bank.run("tcc", gid, confirm="fail-once")
    await dtm.until(gid, "succeed")
    assert (await bank.calls(gid)).count("debit-confirm 01 confirm") == 2


async def test_120_a_nested_tcc(bank: Bank, dtm: Dtm) -> None:
    gid = new_gid()
    assert (await bank.run("tcc-nested", gid)).error == ""
    await dtm.until(gid, "succeed")
    assert sorted((await bank.calls(gid))[3:]) == [
        "credit-confirm 02 confirm",
        "debit-confirm 01 confirm",
        "deep-confirm 0201 confirm",
    ]
    assert await dtm.rows(gid) == "P S P S P S"


async def test_123_a_client_that_panics_has_aborted(bank: Bank, dtm: Dtm) -> None:
    gid = new_gid()
    assert (await bank.run("tcc", gid, answer="panic")).error == "panic: the client has lost its mind"
    await dtm.until(gid, "failed")
    assert await bank.calls(gid) == ["debit 01 try", "debit-cancel 01 cancel"]
