"""XA of DTM's own Go client, on MariaDB and PostgreSQL.

Each test runs a transaction in a bank written with that client (``tests/interop/go``) and looks at three things: what
the client was told, which calls its participants got, and what the server says became of it.
"""

from __future__ import annotations

import pytest

from tests.compat.dtm import Dtm
from tests.compat.orders import new_gid
from tests.interop.bank import Bank, Database

pytestmark = pytest.mark.timeout(600)  # the first test builds the bank


async def test_135_both_parts_of_an_xa_are_committed(
    bank: Bank, dtm: Dtm, databases: dict[str, Database], store: str
) -> None:
    gid = new_gid()
    assert (await bank.run("xa", gid, database=store)).error == ""
    await dtm.until(gid, "succeed")
    assert await databases[store].accounts(gid) == {"xa": [-30, 30]}
    assert await dtm.rows(gid) == "P S P S"


async def test_137_when_one_part_refuses_all_is_rolled_back(
    bank: Bank, dtm: Dtm, databases: dict[str, Database], store: str
) -> None:
    gid = new_gid()
    assert "FAILURE" in (await bank.run("xa", gid, database=store, business="refuse")).error
    await dtm.until(gid, "failed")
    assert await databases[store].accounts(gid) == {}
    assert await dtm.rows(gid) == "S P"
