"""DTM's xa: branches stand prepared in their databases; commit them all once submitted, else roll all back (spec 4.4).

The law of this file: that of tcc, but both ways go in the order in which the branches were registered, and one URL
serves both. The body is empty: the database knows what to commit.
"""

from __future__ import annotations

import msgspec

from flowtx_dsl.errors import Abort, Cancelled
from flowtx_dsl.patterns.calling import Calling
from flowtx_dsl.patterns.prepared import until_submitted
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import workflow


class XaBranch(msgspec.Struct, frozen=True, kw_only=True):
    """One branch: whom to ask in the second phase. ``payload`` is only shown."""

    branch_id: str
    url: str = ""
    payload: bytes = b""


class XaOrder(Calling, frozen=True, kw_only=True, omit_defaults=True):
    """An xa as it was prepared; it is rolled back when it was not submitted ``timeout_s`` seconds later."""

    timeout_s: int


_branch = msgspec.json.Decoder(XaBranch)
_order = msgspec.json.Decoder(XaOrder)


@workflow(name="dtm.xa")
async def xa(tx: Tx, order: XaOrder) -> None:
    """Wait for the branches and for the submission, then commit; or roll back."""
    branches: list[XaBranch] = []
    try:
        submitted = await until_submitted(tx, order.timeout_s, lambda data: branches.append(_branch.decode(data)))
    except (Abort, Cancelled):
        for branch in reversed(branches):  # what is registered last is done first
            rollback = order.target("xa", branch.branch_id, "rollback", branch.url)
            tx.compensate(rollback, retry=order.retry, timeout_s=order.request_timeout_s)
        raise
    now = order if submitted is None else _order.decode(submitted)
    for branch in branches:
        commit = now.target("xa", branch.branch_id, "commit", branch.url)
        tx.message(commit, retry=now.retry, timeout_s=now.request_timeout_s)
