"""From a submit of a saga to the workflow's input; what cannot work is said here, before anything is stored.

The law of this file: DTM would store such a saga and retry it for ever without a visible reason (spec 12.22).
"""

from __future__ import annotations

import msgspec

from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.options import base_interval_s
from flowtx.dtm.wire.requests import TransactionRequest
from flowtx.settings import Settings
from flowtx_dsl.patterns.saga import SagaOrder, SagaStep, levels_of

STEPS_MAX = 10_000
"""The most steps of one saga: each is kept in memory while the saga runs."""
LEVELS_MAX = 100
"""The most steps of a concurrent saga that wait for one another in a row: each is a nursery inside another."""


class _Custom(msgspec.Struct, frozen=True):
    """What a saga's ``custom_data`` can ask for (spec 1)."""

    concurrent: bool | None = False
    orders: dict[int, list[int]] | None = None


_custom = msgspec.json.Decoder(_Custom)


def saga_input(request: TransactionRequest, settings: Settings) -> bytes:
    """The input of ``patterns.saga`` as a JSON array; raises ``RequestError``."""
    return msgspec.json.encode([order_of(request, settings)])


def order_of(request: TransactionRequest, settings: Settings) -> SagaOrder:
    """The saga that a request orders; raises ``RequestError`` for one that nobody could run."""
    _check_size(request)
    custom = _read_custom(request.custom_data)
    steps = tuple(
        SagaStep(
            branch_id=f"{i + 1:02d}",
            action=step.get("action", ""),
            compensate=step.get("compensate", ""),
            payload=request.payloads[i],
        )
        for i, step in enumerate(request.steps)
    )
    order = SagaOrder(
        steps=steps,
        request_timeout_s=float(request.request_timeout if request.request_timeout > 0 else settings.request_timeout_s),
        retry_interval_s=float(base_interval_s(request, retry_interval_s=settings.retry_interval_s)),
        branch_headers=tuple(request.branch_headers.items()),
        protocol=request.protocol or "http",
        concurrent=bool(custom.concurrent),
        after=_after_of(custom, len(steps)),
        timeout_s=max(request.timeout_to_fail, 0),
        retry_limit=max(request.retry_limit, 0),
    )
    _check_levels(order)
    return order


def _check_size(request: TransactionRequest) -> None:
    if len(request.payloads) < len(request.steps):
        raise RequestError(
            f"the saga has {len(request.steps)} steps and {len(request.payloads)} payloads, expected one for each step"
        )
    if len(request.steps) > STEPS_MAX:
        raise RequestError(f"the saga has {len(request.steps)} steps, expected at most {STEPS_MAX}")


def _after_of(custom: _Custom, step_count: int) -> tuple[tuple[int, ...], ...]:
    """Which steps each one comes after; empty when their sequence says it all."""
    orders = {i: before for i, before in (custom.orders or {}).items() if before and 0 <= i < step_count}
    for i, before in orders.items():
        for j in before:
            if not 0 <= j < step_count:
                raise RequestError(
                    f"custom_data.orders: step {i} waits for step {j}, expected one of the {step_count} steps, "
                    "which count from 0"
                )
            if not custom.concurrent and j >= i:
                raise RequestError(
                    f"custom_data.orders: step {i} waits for step {j}, expected an earlier one, because the steps "
                    "run one after another (custom_data.concurrent is false)"
                )
    if not custom.concurrent or not orders:
        return ()
    return tuple(tuple(sorted(set(orders.get(i, ())))) for i in range(step_count))


def _check_levels(order: SagaOrder) -> None:
    if not order.concurrent:
        return
    try:
        level_count = len(levels_of(order))
    except ValueError as error:
        raise RequestError(f"custom_data.orders: {error}, so that none of them could ever begin") from error
    if level_count > LEVELS_MAX:
        raise RequestError(
            f"custom_data.orders: {level_count} steps wait for one another in a row, expected at most {LEVELS_MAX}"
        )


def _read_custom(custom_data: str) -> _Custom:
    if not custom_data:
        return _Custom()
    try:
        return _custom.decode(custom_data)
    except msgspec.MsgspecError as error:
        raise RequestError(f"custom_data of a saga cannot be read: {error}") from error
