"""What a request begins: the pattern's workflow, its input, and how long it may stay prepared.

The law of this file: a topic is read once, when the transaction is stored, and a topic that reaches nobody stores
nothing (spec 4.5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from flowtx.dtm import orders
from flowtx.dtm.arrivals import arrived_traceparent
from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.operations.topics import urls_of
from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.options import StoredOptions, decode_options, encode_options, merged, options_of
from flowtx.dtm.wire.requests import TransactionRequest, check_gid
from flowtx_dsl.patterns.callback import callback
from flowtx_dsl.patterns.calling import Calling
from flowtx_dsl.patterns.msg import MsgOrder, msg
from flowtx_dsl.patterns.saga import SagaOrder, saga
from flowtx_dsl.patterns.tcc import tcc
from flowtx_dsl.patterns.xa import xa
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.records import Transaction

TOPIC_SCHEME = "topic://"
"""What the action of a message's step begins with when it names a topic."""


class Beginning(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to store a new transaction; ``wake_after_s`` is when to look at it should it stay prepared."""

    gid: str
    pattern: str
    workflow: AnyWorkflow
    payload: bytes
    options: bytes
    wake_after_s: float | None


async def beginning_of(desk: Desk, request: TransactionRequest) -> Beginning:
    """What a request begins; raises ``RequestError`` for what nobody could carry out."""
    check_gid(request.gid)
    settings = desk.settings
    options = options_of(request, retry_interval_s=settings.retry_interval_s)
    options = msgspec.structs.replace(options, traceparent=arrived_traceparent())
    wake_after_s: float | None = float(orders.timeout_s_of(options, settings))
    workflow: AnyWorkflow
    order: Calling
    match request.trans_type:
        case "saga":  # a prepared saga waits for its submission, however long that takes
            workflow, wake_after_s = saga, None
            order = orders.saga_order(orders.saga_steps_of(request), options, settings)
        case "msg":
            workflow, order = msg, await _msg_order(desk, request, options)
        case "tcc":
            workflow, order = tcc, orders.tcc_order(options, settings)
        case "xa":
            workflow, order = xa, orders.xa_order(options, settings)
        case "workflow":
            workflow, wake_after_s = callback, float(options.interval)
            order = orders.callback_order(options, settings)
        case unknown:
            raise RequestError(f"unknown trans_type '{unknown[:100]}', expected one of saga, tcc, xa, msg, workflow")
    return Beginning(
        gid=request.gid,
        pattern=request.trans_type,
        workflow=workflow,
        payload=msgspec.json.encode([order]),
        options=encode_options(options),
        wake_after_s=wake_after_s,
    )


def names_topics(request: TransactionRequest) -> bool:
    """True for a message that has to look topics up."""
    return request.trans_type == "msg" and any(_topic_of(step) is not None for step in request.steps)


def submission_of(desk: Desk, row: Transaction, request: TransactionRequest) -> tuple[StoredOptions, bytes]:
    """The options of a prepared transaction once it is submitted, and what its run is told of them.

    Raises ``RequestError`` for options with which the branches that are stored cannot be carried out.
    """
    settings = desk.settings
    options = merged(
        decode_options(row.options),
        options_of(request, retry_interval_s=settings.retry_interval_s),
        retry_interval_s=settings.retry_interval_s,
    )
    order: Calling
    match row.pattern:
        case "saga":
            (saved,) = msgspec.json.decode(row.input, type=tuple[SagaOrder])
            whole = orders.saga_order(saved.steps, options, settings)
            order = msgspec.structs.replace(whole, steps=())  # they are in the run's input already
        case "msg":
            (kept,) = msgspec.json.decode(row.input, type=tuple[MsgOrder])
            order = msgspec.structs.replace(orders.msg_order(kept.branches, options, settings), branches=())
        case "tcc":
            order = orders.tcc_order(options, settings)
        case "xa":
            order = orders.xa_order(options, settings)
        case pattern:
            raise AssertionError(f"{row!r}: a submission of pattern {pattern} has no order")
    return options, msgspec.json.encode(order)


async def _msg_order(desk: Desk, request: TransactionRequest, options: StoredOptions) -> MsgOrder:
    orders.check_size(request)
    reached: list[Sequence[str]] = []
    for step in request.steps:
        topic = _topic_of(step)
        reached.append((step.get("action", ""),) if topic is None else await urls_of(desk, topic))
    return orders.msg_order(orders.msg_branches_of(request, reached), options, desk.settings)


def _topic_of(step: Mapping[str, str]) -> str | None:
    """The topic that a message's step names, or None."""
    action = step.get("action", "")
    return action.removeprefix(TOPIC_SCHEME) if action.startswith(TOPIC_SCHEME) else None
