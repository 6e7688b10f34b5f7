"""DTM's saga: its steps one after another, and back again, newest first, when one is refused (spec 4.2).

The law of this file: it is a workflow like any other and knows nothing of wires. Whatever it needs stands in its input,
so that a run goes on unchanged when a server's settings change.
"""

from __future__ import annotations

import msgspec

from flowtx_dsl.errors import Abort, Refused
from flowtx_dsl.policies import Retry
from flowtx_dsl.targets import HttpTarget
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import workflow

PAUSE_MAX_S = 3600.0
"""Doubling pauses stop growing here; DTM's grow for ever (spec 12.7)."""


class SagaStep(msgspec.Struct, frozen=True, kw_only=True):
    """One branch: whom to ask, whom to ask to take it back, and the body both get. An empty URL is done at once."""

    branch_id: str
    action: str
    compensate: str
    payload: bytes


class SagaOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A saga as it was ordered.

    ``request_timeout_s`` limits each call. ``retry_interval_s`` is the base of its pauses, in seconds: a participant
    that answers "ongoing" is asked again after it, the k-th consecutive fault is followed by it times 2 to the k.
    ``branch_headers`` travel with every call.
    """

    steps: tuple[SagaStep, ...]
    request_timeout_s: float
    retry_interval_s: float
    branch_headers: tuple[tuple[str, str], ...] = ()


def retry_of(retry_interval_s: float) -> Retry:
    """The pauses of a saga (spec 5.2): doubling from the base, which "ongoing" leaves as it is, and no dice."""
    first_s = 2 * retry_interval_s
    return Retry(first_s=first_s, factor=2.0, cap_s=max(PAUSE_MAX_S, first_s), jitter=0.0)


def address_of(branch_index: int) -> str:
    """Where a branch's action stands in the journal; its compensation stands at ``<address>/c``."""
    return str(branch_index)


@workflow(name="dtm.saga")
async def saga(tx: Tx, order: SagaOrder) -> None:
    """Ask every participant in turn; a refusal turns the saga round, and the refused step is taken back too."""
    retry = retry_of(order.retry_interval_s)
    for step in order.steps:
        try:
            await tx.step(
                _target(step.action, step, order),
                step.payload,
                compensate=_target(step.compensate, step, order),
                compensate_refused=True,
                retry=retry,
                timeout_s=order.request_timeout_s,
            )
        except Refused as refusal:
            raise Abort(f"url:{step.action} return failed: {refusal.message}") from refusal


def _target(url: str, step: SagaStep, order: SagaOrder) -> HttpTarget[None]:
    return HttpTarget(
        url=url, headers=order.branch_headers, result_type=None, branch_id=step.branch_id, trans_type="saga"
    )
