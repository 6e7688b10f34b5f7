"""From a request to the input of a pattern's workflow; what cannot work is said here, before anything is stored.

The law of this file: DTM would store such a transaction and retry it for ever without a visible reason (spec 12.22).
What a transaction is ordered with is its ``StoredOptions`` and its branches, so that a submission of a prepared one can
change the options and nothing else (spec 12.11).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from flowtx.dtm.queue_urls import check_queue_url, refuse_queue
from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.options import StoredOptions, options_of
from flowtx.dtm.wire.requests import TransactionRequest
from flowtx.settings import Settings
from flowtx_dsl.patterns.callback import CallbackOrder
from flowtx_dsl.patterns.calling import TIMEOUT_MAX_S
from flowtx_dsl.patterns.msg import MsgBranch, MsgOrder
from flowtx_dsl.patterns.saga import SagaOrder, SagaStep, levels_of
from flowtx_dsl.patterns.tcc import TccOrder
from flowtx_dsl.patterns.xa import XaOrder

STEPS_MAX = 10_000
"""The most branches of one transaction: each is kept in memory while it runs."""
LEVELS_MAX = 100
"""The most steps of a concurrent saga that wait for one another in a row: each is a nursery inside another."""


def saga_of(request: TransactionRequest, settings: Settings) -> SagaOrder:
    """The saga that a request orders; raises ``RequestError`` for one that nobody could run."""
    options = options_of(request, retry_interval_s=settings.retry_interval_s)
    return saga_order(saga_steps_of(request), options, settings)


def saga_steps_of(request: TransactionRequest) -> tuple[SagaStep, ...]:
    """The branches of a saga; raises ``RequestError``."""
    check_size(request)
    for i, step in enumerate(request.steps):
        for op in ("action", "compensate"):
            check_queue_url(step.get(op, ""), f"{op} of step {i}")
    return tuple(
        SagaStep(
            branch_id=f"{i + 1:02d}",
            action=step.get("action", ""),
            compensate=step.get("compensate", ""),
            payload=request.payloads[i],
        )
        for i, step in enumerate(request.steps)
    )


def saga_order(steps: tuple[SagaStep, ...], options: StoredOptions, settings: Settings) -> SagaOrder:
    """A saga of these branches; raises ``RequestError`` for one that nobody could run."""
    custom = _read_custom(_SagaCustom, options, "a saga")
    order = SagaOrder(
        steps=steps,
        concurrent=bool(custom.concurrent),
        after=_after_of(custom, len(steps)),
        timeout_s=max(options.timeout_to_fail, 0),
        retry_limit=max(options.retry_limit, 0),
        **_calling_of(options, settings),
    )
    _check_levels(order)
    return order


def msg_branches_of(request: TransactionRequest, urls_of_step: Sequence[Sequence[str]]) -> tuple[MsgBranch, ...]:
    """The branches of a message, whose steps reach these URLs: ``01``, or ``01-01`` and so on for several (4.5)."""
    branches = tuple(
        MsgBranch(
            branch_id=f"{i + 1:02d}" if len(urls) == 1 else f"{i + 1:02d}-{j + 1:02d}",
            url=url,
            payload=request.payloads[i],
        )
        for i, urls in enumerate(urls_of_step)
        for j, url in enumerate(urls)
    )
    for branch in branches:
        check_queue_url(branch.url, f"branch {branch.branch_id}")
    if len(branches) > STEPS_MAX:
        raise RequestError(f"the message goes to {len(branches)} subscribers, expected at most {STEPS_MAX}")
    return branches


def msg_order(branches: tuple[MsgBranch, ...], options: StoredOptions, settings: Settings) -> MsgOrder:
    """A message to these subscribers; raises ``RequestError``."""
    custom = _read_custom(_MsgCustom, options, "a message")
    delay_s = custom.delay or 0.0
    if not 0 <= delay_s <= TIMEOUT_MAX_S:
        raise RequestError(f"custom_data.delay is {delay_s:g}, expected seconds from 0 to {TIMEOUT_MAX_S}")
    refuse_queue(options.query_prepared, "query_prepared")
    return MsgOrder(
        branches=branches,
        query_prepared=options.query_prepared,
        timeout_s=timeout_s_of(options, settings),
        delay_s=delay_s,
        concurrent=options.concurrent,
        **_calling_of(options, settings),
    )


def tcc_order(options: StoredOptions, settings: Settings) -> TccOrder:
    """A tcc, whose branches come later."""
    return TccOrder(timeout_s=timeout_s_of(options, settings), **_calling_of(options, settings))


def xa_order(options: StoredOptions, settings: Settings) -> XaOrder:
    """An xa, whose branches come later."""
    return XaOrder(timeout_s=timeout_s_of(options, settings), **_calling_of(options, settings))


def callback_order(options: StoredOptions, settings: Settings) -> CallbackOrder:
    """A workflow that its client runs; raises ``RequestError``."""
    custom = _read_custom(_WorkflowCustom, options, "a workflow")
    refuse_queue(options.query_prepared, "query_prepared")
    return CallbackOrder(
        query_prepared=options.query_prepared,
        name=custom.name or "",
        data=custom.data or b"",
        **_calling_of(options, settings),
    )


def timeout_s_of(options: StoredOptions, settings: Settings) -> int:
    """How long a tcc, an xa or a message may stay prepared, in seconds (spec 4.1)."""
    return options.timeout_to_fail if options.timeout_to_fail > 0 else settings.timeout_to_fail_s


def check_size(request: TransactionRequest) -> None:
    """Raises ``RequestError`` for too many steps, or steps without a payload."""
    if len(request.payloads) < len(request.steps):
        raise RequestError(
            f"the {request.trans_type} has {len(request.steps)} steps and {len(request.payloads)} payloads, expected "
            "one for each step"
        )
    if len(request.steps) > STEPS_MAX:
        raise RequestError(f"the {request.trans_type} has {len(request.steps)} steps, expected at most {STEPS_MAX}")


def _calling_of(options: StoredOptions, settings: Settings) -> dict[str, Any]:
    timeout_s = options.request_timeout if options.request_timeout > 0 else settings.request_timeout_s
    return {
        "request_timeout_s": float(timeout_s),
        "retry_interval_s": float(options.interval),
        "branch_headers": tuple(options.branch_headers.items()),
        "protocol": options.protocol or "http",
    }


# -- custom_data (spec 1)


class _SagaCustom(msgspec.Struct, frozen=True):
    concurrent: bool | None = False
    orders: dict[int, list[int]] | None = None


class _MsgCustom(msgspec.Struct, frozen=True):
    delay: float | None = 0.0


class _WorkflowCustom(msgspec.Struct, frozen=True):
    name: str | None = ""
    data: bytes | None = b""


def _read_custom(wanted: type[Any], options: StoredOptions, what: str) -> Any:
    if not options.custom_data:
        return wanted()
    try:
        return msgspec.json.decode(options.custom_data, type=wanted)
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise RequestError(f"custom_data of {what} cannot be read: {error}") from error


def _after_of(custom: _SagaCustom, step_count: int) -> tuple[tuple[int, ...], ...]:
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
