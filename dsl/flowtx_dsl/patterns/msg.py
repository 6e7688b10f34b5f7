"""DTM's two-phase message: delivered to every subscriber once its sender's own transaction is committed (spec 4.5).

The law of this file: a message that was submitted is never given up and cannot be refused. One that was only prepared
is sent when the sender says so when it is asked, and dropped when the sender says no or aborts.
"""

from __future__ import annotations

import msgspec

from flowtx_dsl.errors import Abort, Refused
from flowtx_dsl.patterns.calling import TIMEOUT_MAX_S, WORD, Calling, Word
from flowtx_dsl.structured import CancelScope
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import workflow

QUERY_BRANCH = "00"
"""The branch under which the sender is asked (spec 3.6)."""
SUBMITTED = Word(kind="submit")
ABORTED = Word(kind="abort")


class MsgBranch(msgspec.Struct, frozen=True, kw_only=True):
    """One subscriber, and the body it gets. An empty URL is done at once."""

    branch_id: str
    url: str
    payload: bytes


class MsgOrder(Calling, frozen=True, kw_only=True, omit_defaults=True):
    """A message as it was ordered.

    ``query_prepared`` is whom to ask when a prepared message was not submitted ``timeout_s`` seconds later; with an
    empty one it counts as committed, as in DTM (spec 12.18). ``delay_s`` is how long to wait after the submission.
    Subscribers are called in turn, or with ``concurrent`` all at once.
    """

    branches: tuple[MsgBranch, ...]
    query_prepared: str = ""
    timeout_s: int = 0
    delay_s: float = 0.0
    concurrent: bool = False


_order = msgspec.json.Decoder(MsgOrder)


@workflow(name="dtm.msg")
async def msg(tx: Tx, order: MsgOrder) -> None:
    """Wait until the sender has committed, then for the delay, then deliver."""
    if tx.is_prepared:
        word = await _submitted_or_asked(tx, order)
        if word.kind == "abort":
            raise Abort
        if word != SUBMITTED:
            order = msgspec.structs.replace(_order.decode(word.data), branches=order.branches)
        tx.submitted()
    if order.delay_s:
        await tx.sleep(min(order.delay_s, TIMEOUT_MAX_S))
    if order.concurrent:
        async with tx.open_nursery() as nursery:
            for branch in order.branches:
                nursery.start_soon(_deliver, tx, order, branch)
    else:
        for branch in order.branches:
            await _deliver(tx, order, branch)


async def _deliver(tx: Tx, order: MsgOrder, branch: MsgBranch) -> None:
    target = order.target("msg", branch.branch_id, "action", branch.url)
    await tx.message(target, branch.payload, retry=order.retry, timeout_s=order.request_timeout_s)


async def _submitted_or_asked(tx: Tx, order: MsgOrder) -> Word:
    """What the sender says: by itself in time, or when it is asked afterwards, whichever comes first."""
    with tx.move_on_after(min(order.timeout_s, TIMEOUT_MAX_S)):
        return await _verdict(tx)
    said: list[Word] = []
    async with tx.open_nursery() as nursery:
        nursery.start_soon(_ask, tx, order, said, nursery.cancel_scope)
        said.append(await _verdict(tx))
        nursery.cancel_scope.cancel()
    return said[0]


async def _verdict(tx: Tx) -> Word:
    while True:
        word = await tx.signal(WORD, type=Word)
        if word.kind in ("submit", "abort"):
            return word


async def _ask(tx: Tx, order: MsgOrder, said: list[Word], scope: CancelScope) -> None:
    """Ask the sender whether its transaction was committed, until it answers (spec 3.6)."""
    target = order.target("msg", QUERY_BRANCH, "msg", order.query_prepared)
    try:
        await tx.step(target, retry=order.retry, timeout_s=order.request_timeout_s)
    except Refused:
        said.append(ABORTED)
    else:
        said.append(SUBMITTED)
    scope.cancel()
