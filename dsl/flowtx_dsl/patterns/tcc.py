"""DTM's tcc: branches were tried by their client; confirm them all once it submits, else cancel them all (spec 4.3).

The law of this file: a branch is confirmed or cancelled, never both, and once it was submitted there is no way back.
Both go from the last branch registered to the first.
"""

from __future__ import annotations

import msgspec

from flowtx_dsl.patterns.calling import Calling
from flowtx_dsl.patterns.prepared import until_submitted
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import workflow


class TccBranch(msgspec.Struct, frozen=True, kw_only=True):
    """One branch: whom to ask to confirm and whom to cancel, and the body both get."""

    branch_id: str
    confirm: str = ""
    cancel: str = ""
    payload: bytes = b""


class TccOrder(Calling, frozen=True, kw_only=True, omit_defaults=True):
    """A tcc as it was prepared; it is cancelled when it was not submitted ``timeout_s`` seconds later."""

    timeout_s: int


_branch = msgspec.json.Decoder(TccBranch)
_order = msgspec.json.Decoder(TccOrder)


@workflow(name="dtm.tcc")
async def tcc(tx: Tx, order: TccOrder) -> None:
    """Wait for the branches and for the submission, then confirm; or cancel."""
    branches: list[TccBranch] = []

    def register(data: bytes) -> None:
        branch = _branch.decode(data)
        branches.append(branch)
        cancel = order.target("tcc", branch.branch_id, "cancel", branch.cancel)
        tx.compensate(cancel, branch.payload, retry=order.retry, timeout_s=order.request_timeout_s)

    submitted = await until_submitted(tx, order.timeout_s, register)
    now = order if submitted is None else _order.decode(submitted)
    for branch in reversed(branches):
        confirm = now.target("tcc", branch.branch_id, "confirm", branch.confirm)
        tx.message(confirm, branch.payload, retry=now.retry, timeout_s=now.request_timeout_s)
