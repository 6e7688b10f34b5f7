"""DTM's saga: its steps forward, and back again when one is refused, when time is up or when tries are (spec 4.2).

The law of this file: it is a workflow like any other and knows nothing of wires. Whatever it needs stands in its input,
so that a run goes on unchanged when a server's settings change.

A concurrent saga opens one nursery a level, all at once: a branch waits for those it comes after and for nothing else.
On the way back the kernel takes a nursery as one, the highest level first, so a branch is taken back before those it
came after.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from urllib.parse import quote

import msgspec

from flowtx_dsl.errors import Abort, Ongoing, Refused, StepFault
from flowtx_dsl.patterns.calling import TIMEOUT_MAX_S, WORD, Calling, Word
from flowtx_dsl.policies import Retry
from flowtx_dsl.remote import ParticipantTarget
from flowtx_dsl.structured import CancelScope, Event
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import workflow

ONE_CALL = Retry(attempts_max=1, ongoing_counts=True)
"""With a retry limit every call has an outcome, because every call counts, "ongoing" ones too (spec 4.2)."""


class SagaStep(msgspec.Struct, frozen=True, kw_only=True):
    """One branch: whom to ask, whom to ask to take it back, and the body both get. An empty URL is done at once."""

    branch_id: str
    action: str
    compensate: str
    payload: bytes


class SagaOrder(Calling, frozen=True, kw_only=True, omit_defaults=True):
    """A saga as it was ordered.

    ``concurrent`` steps begin all at once, but each after those that ``after`` names for it, by their numbers from 0
    (empty: none waits). ``timeout_s`` (0: none) turns the saga round so many seconds after it began, ``retry_limit``
    (0: none) when so many calls over the whole saga, repeated at once, had no outcome.
    """

    steps: tuple[SagaStep, ...]
    concurrent: bool = False
    after: tuple[tuple[int, ...], ...] = ()
    timeout_s: int = 0
    retry_limit: int = 0


_order = msgspec.json.Decoder(SagaOrder)


def levels_of(order: SagaOrder) -> list[list[int]]:
    """The steps of a concurrent saga by level: a step stands one above the highest of those it comes after.

    Raises ``ValueError`` when steps wait for each other.
    """
    if not order.after:
        return [list(range(len(order.steps)))] if order.steps else []
    followers: list[list[int]] = [[] for _ in order.steps]
    for i, before in enumerate(order.after):
        for j in before:
            followers[j].append(i)
    missing = [len(before) for before in order.after]
    levels: list[list[int]] = []
    level = [i for i, count in enumerate(missing) if not count]
    while level:
        levels.append(level)
        above: list[int] = []
        for j in level:
            for i in followers[j]:
                missing[i] -= 1
                if not missing[i]:
                    above.append(i)
        level = sorted(above)
    if any(missing):
        raise ValueError(f"steps {[i for i, count in enumerate(missing) if count]} wait for each other")
    return levels


@workflow(name="dtm.saga")
async def saga(tx: Tx, order: SagaOrder) -> None:
    """Ask every participant; what turns the saga round takes every step back that may have happened."""
    spent_s = 0.0
    if tx.is_prepared:
        began = tx.now()
        order = await _submitted(tx, order)
        spent_s = (tx.now() - began).total_seconds()
    if not (order.concurrent or order.timeout_s or order.retry_limit):
        for step in order.steps:
            await _call(tx, step, order, _Calls(0))
        return
    failures: list[Abort] = []
    left_s = max(min(order.timeout_s, TIMEOUT_MAX_S) - spent_s, 0.0)
    with tx.move_on_after(left_s) if order.timeout_s else tx.CancelScope() as scope:
        way = _Way(order, scope, failures, [tx.Event() for _ in order.steps])
        await (_all_at_once(tx, way) if order.concurrent else _one_after_another(tx, way))
    if failures:
        raise failures[0]
    if scope.cancelled_caught:
        raise Abort(f"Timeout after {order.timeout_s} seconds")


async def _submitted(tx: Tx, order: SagaOrder) -> SagaOrder:
    """What a prepared saga is to do once it is submitted; until then nothing is called, however long it takes."""
    while True:
        word = await tx.signal(WORD, type=Word)
        if word.kind == "submit":
            tx.submitted()
            return msgspec.structs.replace(_order.decode(word.data), steps=order.steps)


class _Calls:
    """How many more calls without an outcome the saga may make."""

    def __init__(self, left: int) -> None:
        self.left = left


class _Way:
    """What the branches of one run share: who comes after whom, and what ends them all."""

    def __init__(self, order: SagaOrder, scope: CancelScope, failures: list[Abort], done: list[Event]) -> None:
        self.order = order
        self.scope = scope
        self.failures = failures
        self.done = done
        self.calls = _Calls(order.retry_limit)

    async def go(self, tx: Tx, i: int) -> None:
        """One branch: wait for those it comes after, ask, and let those go on that come after it."""
        for before in self.order.after[i] if self.order.after else ():
            await self.done[before].wait()
        try:
            await _call(tx, self.order.steps[i], self.order, self.calls)
        except Abort as failure:
            # Not raised from here: each of the nurseries around would wrap it, and the first failure is the reason.
            self.failures.append(failure)
            self.scope.cancel()
        else:
            self.done[i].set()


async def _all_at_once(tx: Tx, way: _Way) -> None:
    async with AsyncExitStack() as nurseries:
        for level in levels_of(way.order):
            nursery = await nurseries.enter_async_context(tx.open_nursery())
            for i in level:
                nursery.start_soon(way.go, tx, i)


async def _one_after_another(tx: Tx, way: _Way) -> None:
    for i in range(len(way.order.steps)):
        if not way.order.retry_limit:
            await _call(tx, way.order.steps[i], way.order, way.calls)
            continue
        # In a nursery, so that the branches after it stand where they do however many calls this one takes.
        async with tx.open_nursery() as nursery:
            nursery.start_soon(way.go, tx, i)
        await tx.checkpoint()  # a failure ends the run here


async def _call(tx: Tx, step: SagaStep, order: SagaOrder, calls: _Calls) -> None:
    """Ask a participant until it has acted; raises ``Abort`` when it refuses or no more calls are left."""
    action, compensate = _targets(tx, step, order)
    undo: ParticipantTarget | None = compensate
    while True:
        try:
            await tx.step(
                action,
                step.payload,
                compensate=undo,
                compensate_refused=True,
                retry=ONE_CALL if order.retry_limit else order.retry,
                timeout_s=order.request_timeout_s,
            )
        except Refused as refusal:
            raise Abort(f"url:{step.action} return failed: {refusal.message}") from refusal
        except (StepFault, Ongoing) as fault:  # given up, which only a retry limit brings about
            if not calls.left:
                reason = f"RetryCount is greater than RetryLimit, RetryLimit: {order.retry_limit}"
                raise Abort(reason) from fault
            calls.left -= 1
            undo = None  # it is due already, by the first call
        else:
            return


def _targets(tx: Tx, step: SagaStep, order: SagaOrder) -> tuple[ParticipantTarget, ParticipantTarget]:
    """Whom to ask, and whom to ask to take it back."""
    return _target(tx, step, order, "action", step.action), _target(tx, step, order, "compensate", step.compensate)


def _target(tx: Tx, step: SagaStep, order: SagaOrder, op: str, url: str) -> ParticipantTarget:
    target = order.target("saga", step.branch_id, op, url)
    if order.retry_limit and not any(name.lower() == "idempotency-key" for name, _ in target.headers):
        # Every call is a step with a key of its own then, but to the participant they are one.
        key = ("Idempotency-Key", quote(f"{tx.gid}/{step.branch_id}/{op}", safe="/"))
        return replace(target, headers=(*target.headers, key))
    return target
