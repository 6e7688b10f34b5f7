"""DTM's own Go client over gRPC on both sides.

Each test runs a transaction in a bank written with that client (``tests/interop/go``) and looks at three things: what
the client was told, which calls its participants got, and what the server says became of it.
"""

from __future__ import annotations

import pytest

from tests.compat.dtm import Dtm
from tests.compat.orders import new_gid
from tests.interop.bank import Bank, Database, need

pytestmark = pytest.mark.timeout(600)  # the first test builds the bank


async def test_a_saga_over_grpc(bank: Bank, dtm: Dtm) -> None:
    gid = new_gid()
    assert (await bank.run("saga-grpc", gid, wait="yes")).error == ""
    assert await bank.calls(gid) == ["Debit 01 action", "Credit 02 action"]
    refused = new_gid()
    assert "FAILURE" in (await bank.run("saga-grpc", refused, answer="refuse", wait="yes")).error
    await dtm.until(refused, "failed")
    assert (await bank.calls(refused))[2:] == ["CreditBack 02 compensate", "DebitBack 01 compensate"]


async def test_a_tcc_over_grpc(bank: Bank, dtm: Dtm) -> None:
    gid = new_gid()
    assert (await bank.run("tcc-grpc", gid)).error == ""
    await dtm.until(gid, "succeed")
    assert (await bank.calls(gid))[2:] == ["CreditConfirm 02 confirm", "DebitConfirm 01 confirm"]
    refused = new_gid()
    assert (await bank.run("tcc-grpc", refused, answer="refuse")).error
    await dtm.until(refused, "failed")
    assert (await bank.calls(refused))[2:] == ["CreditBack 02 cancel", "DebitBack 01 cancel"]


async def test_a_message_over_grpc(bank: Bank, dtm: Dtm, databases: dict[str, Database]) -> None:
    need(databases, "mysql")
    gid = new_gid()
    assert (await bank.run("msg-grpc", gid, database="mysql")).error == ""
    await dtm.until(gid, "succeed")
    assert await bank.calls(gid) == ["Credit 01 action"]
    refused = new_gid()
    assert (await bank.run("msg-grpc", refused, database="mysql", business="fail")).error
    await dtm.until(refused, "failed")
    assert await bank.calls(refused) == ["Sent 00 msg"]


async def test_an_xa_over_grpc(bank: Bank, dtm: Dtm, databases: dict[str, Database]) -> None:
    need(databases, "mysql")
    gid = new_gid()
    assert (await bank.run("xa-grpc", gid, database="mysql")).error == ""
    await dtm.until(gid, "succeed")
    assert await databases["mysql"].accounts(gid) == {"xa": [-30, 30]}
    refused = new_gid()
    assert (await bank.run("xa-grpc", refused, database="mysql", answer="refuse")).error
    await dtm.until(refused, "failed")
    assert await databases["mysql"].accounts(refused) == {}
