"""Two-phase messages of DTM's own Go client, with its barrier on MariaDB and PostgreSQL.

Each test runs a transaction in a bank written with that client (``tests/interop/go``) and looks at three things: what
the client was told, which calls its participants got, and what the server says became of it.
"""

from __future__ import annotations

import pytest

from tests.compat.dtm import Dtm
from tests.compat.orders import new_gid
from tests.interop.bank import Bank, Database

pytestmark = pytest.mark.timeout(600)  # the first test builds the bank


async def test_077_a_message_follows_its_local_transaction(
    bank: Bank, dtm: Dtm, databases: dict[str, Database], store: str
) -> None:
    gid = new_gid()
    assert (await bank.run("msg", gid, database=store, answer="fail-once")).error == ""
    await dtm.until(gid, "succeed")
    assert await databases[store].accounts(gid) == {"sender": [-30], "receiver": [30]}
    assert await bank.calls(gid) == ["move 01 action", "move 01 action", "credit 02 action"]


@pytest.mark.parametrize("business", ["refuse", "fail"])
async def test_a_message_without_its_local_transaction_is_never_sent(
    bank: Bank, dtm: Dtm, databases: dict[str, Database], store: str, business: str
) -> None:
    gid = new_gid()
    assert (await bank.run("msg", gid, database=store, business=business)).error
    await dtm.until(gid, "failed")
    assert await databases[store].accounts(gid) == {}
    assert "move 01 action" not in await bank.calls(gid)


async def test_078_business_that_comes_after_the_question_is_a_duplicate(
    bank: Bank, dtm: Dtm, databases: dict[str, Database], store: str
) -> None:
    gid = new_gid()
    assert "DUPLICATED" in (await bank.run("msg-twice", gid, database=store)).error
    await dtm.until(gid, "failed")
    assert await databases[store].accounts(gid) == {}


async def test_079_an_error_after_the_commit_sends_the_message_all_the_same(
    bank: Bank, dtm: Dtm, databases: dict[str, Database], store: str
) -> None:
    gid = new_gid()
    assert "broken after the commit" in (await bank.run("msg", gid, database=store, business="fail-late")).error
    await dtm.until(gid, "succeed")
    assert await databases[store].accounts(gid) == {"sender": [-30], "receiver": [30]}
    assert await bank.calls(gid) == ["sent 00 msg", "move 01 action", "credit 02 action"]
