"""DTM's own Go client over gRPC on both sides.

Each test runs a transaction in a bank written with that client (``tests/interop/go``) and looks at three things: what
the client was told, which calls its participants got, and what the server says became of it.
"""

from __future__ import annotations

import pytest

from tests.compat.dtm import Dtm
from tests.compat.orders import new_gid
from tests.interop.bank import Bank

pytestmark = pytest.mark.timeout(600)  # the first test builds the bank


async def test_a_saga_over_grpc(bank: Bank, dtm: Dtm) -> None:
    gid = new_gid()
    assert (await bank.run("saga-grpc", gid, wait="yes")).error == ""
    assert await bank.calls(gid) == ["Debit 01 action", "Credit 02 action"]
    refused = new_gid()
    assert "FAILURE" in (await bank.run("saga-grpc", refused, answer="refuse", wait="yes")).error
    await dtm.until(refused, "failed")
    assert (await bank.calls(refused))[2:] == ["CreditBack 02 compensate", "DebitBack 01 compensate"]
