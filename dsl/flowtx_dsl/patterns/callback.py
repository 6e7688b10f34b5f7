"""DTM's workflow mode: the client runs the workflow, the server keeps its progress and calls back (spec 4.6).

The law of this file: what a client reports is durable before it is acknowledged (spec 12.8), and a client that is heard
of is not called: the quiet time counts from what it last said (spec 12.12). A call that leads to nothing is repeated
after pauses that double, and that begin anew when the client is heard of again.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta

import msgspec

from flowtx_dsl.errors import Abort, Refused
from flowtx_dsl.patterns.calling import PAUSE_MAX_S, WORD, Calling, Word
from flowtx_dsl.remote import workflow_callback_body
from flowtx_dsl.structured import CancelScope
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import workflow

CALLBACK_BRANCH = "00"
"""The branch under which the client is called back (spec 3.6)."""


class CallbackOrder(Calling, frozen=True, kw_only=True, omit_defaults=True):
    """A workflow as its client prepared it: whom to call back (empty: nobody), under which name, with which data."""

    query_prepared: str = ""
    name: str = ""
    data: bytes = b""


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that the client has done: an op of a branch, how it ended, and what came of it."""

    branch_id: str
    op: str
    status: str
    payload: bytes = b""


class CallbackEnd(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the client says that its workflow ended: "succeed" with a result (text), or "failed" with a reason."""

    status: str
    reason: str = ""
    result: str = ""


_end = msgspec.json.Decoder(CallbackEnd)


@workflow(name="dtm.workflow")
async def callback(tx: Tx, order: CallbackOrder) -> str:
    """Keep what the client says until it says how its workflow ended; call it back when it falls quiet."""
    quiet = _Quiet(tx, order)
    async with tx.open_nursery() as nursery:
        if order.query_prepared:
            nursery.start_soon(quiet.call_back, tx)
        word = await tx.signal(WORD, type=Word)
        while word.kind != "submit":
            quiet.heard(tx, is_hurried=word.kind == "hurry")
            word = await tx.signal(WORD, type=Word)
        nursery.cancel_scope.cancel()
    end = _end.decode(word.data)
    if end.status == "failed":
        raise Abort(end.reason)
    return end.result


class _Quiet:
    """Since when nothing was heard of the client, and for how long that is in order."""

    def __init__(self, tx: Tx, order: CallbackOrder) -> None:
        self._order = order
        self._since: datetime = tx.now()
        self._pause_s = order.retry_interval_s
        self._is_hurried = False
        self._changed = tx.Event()

    def heard(self, tx: Tx, *, is_hurried: bool) -> None:
        """The client said something, or somebody wants it to be called now."""
        self._is_hurried = is_hurried
        if not is_hurried:
            self._since = tx.now()
            self._pause_s = self._order.retry_interval_s
        self._changed.set()
        self._changed = tx.Event()

    async def call_back(self, tx: Tx) -> None:
        """Call the client whenever it has been quiet for too long; what it answers is nobody's business."""
        order = self._order
        target = order.target("workflow", CALLBACK_BRANCH, order.name, order.query_prepared)
        body = workflow_callback_body(order.protocol, order.data)
        while True:
            while not self._is_hurried and not await self._stays_quiet(tx):
                pass
            self._is_hurried = False
            with contextlib.suppress(Refused):
                await tx.step(target, body, retry=order.retry, timeout_s=order.request_timeout_s)
            self._since = tx.now()
            self._pause_s = min(2 * self._pause_s, max(PAUSE_MAX_S, self._order.retry_interval_s))

    async def _stays_quiet(self, tx: Tx) -> bool:
        """True when the time is up, False when something was said before."""
        until = self._since + timedelta(seconds=self._pause_s)
        over: list[datetime] = []
        async with tx.open_nursery() as nursery:
            nursery.start_soon(self._sleep, tx, until, over, nursery.cancel_scope)
            await self._changed.wait()
            nursery.cancel_scope.cancel()
        return bool(over)

    async def _sleep(self, tx: Tx, until: datetime, over: list[datetime], scope: CancelScope) -> None:
        # A sleep, not a deadline: it is the moment to call that has come then, not one to give something up.
        await tx.sleep_until(until)
        over.append(until)
        scope.cancel()
