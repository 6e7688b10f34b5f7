"""From a submit of a saga to the workflow's input; what cannot work is said here, before anything is stored.

The law of this file: DTM would store such a saga and retry it for ever without a visible reason (spec 12.22).
"""

from __future__ import annotations

import msgspec

from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.options import base_interval_s
from flowtx.dtm.wire.requests import TransactionRequest
from flowtx.settings import Settings
from flowtx_dsl.patterns.saga import SagaOrder, SagaStep

STEPS_MAX = 10_000
"""The most steps of one saga: each is kept in memory while the saga runs."""


class _Custom(msgspec.Struct, frozen=True):
    """What a saga's ``custom_data`` can ask for (spec 1)."""

    concurrent: bool | None = False
    orders: dict[int, list[int]] | None = None


_custom = msgspec.json.Decoder(_Custom)


def saga_input(request: TransactionRequest, settings: Settings) -> bytes:
    """The input of ``patterns.saga`` as a JSON array; raises ``RequestError``."""
    return msgspec.json.encode([order_of(request, settings)])


def order_of(request: TransactionRequest, settings: Settings) -> SagaOrder:
    """The saga that a request orders; raises ``RequestError`` for one that this version cannot run as ordered."""
    _check_size(request)
    _check_features(request)
    steps = tuple(
        SagaStep(
            branch_id=f"{i + 1:02d}",
            action=step.get("action", ""),
            compensate=step.get("compensate", ""),
            payload=request.payloads[i],
        )
        for i, step in enumerate(request.steps)
    )
    for step in steps:
        _check_transport(request.protocol, step.action)
        _check_transport(request.protocol, step.compensate)
    return SagaOrder(
        steps=steps,
        request_timeout_s=float(request.request_timeout if request.request_timeout > 0 else settings.request_timeout_s),
        retry_interval_s=float(base_interval_s(request, retry_interval_s=settings.retry_interval_s)),
        branch_headers=tuple(request.branch_headers.items()),
    )


def _check_size(request: TransactionRequest) -> None:
    if len(request.payloads) < len(request.steps):
        raise RequestError(
            f"the saga has {len(request.steps)} steps and {len(request.payloads)} payloads, expected one for each step"
        )
    if len(request.steps) > STEPS_MAX:
        raise RequestError(f"the saga has {len(request.steps)} steps, expected at most {STEPS_MAX}")


def _check_features(request: TransactionRequest) -> None:
    custom = _read_custom(request.custom_data)
    asked = {
        "concurrent steps (custom_data.concurrent)": custom.concurrent,
        "orders between steps (custom_data.orders)": custom.orders,
        "a timeout (timeout_to_fail)": request.timeout_to_fail > 0,
        "a retry limit (retry_limit)": request.retry_limit > 0,
    }
    missing = [name for name, is_asked in asked.items() if is_asked]
    if missing:
        raise RequestError(f"this version of flowtx does not run sagas with {', '.join(missing)} yet")


def _read_custom(custom_data: str) -> _Custom:
    if not custom_data:
        return _Custom()
    try:
        return _custom.decode(custom_data)
    except msgspec.MsgspecError as error:
        raise RequestError(f"custom_data of a saga cannot be read: {error}") from error


def _check_transport(protocol: str, url: str) -> None:
    """Spec 3.1: which transport a URL is called over."""
    is_http = url.startswith(("http://", "https://"))
    if not url or protocol in ("", "http") or (is_http and not (protocol == "json-rpc" and "method" in url)):
        return
    transport = "JSON-RPC" if is_http else "gRPC"
    raise RequestError(f"this version of flowtx does not call participants over {transport} yet: {url}")
