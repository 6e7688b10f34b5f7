"""From DTM's rows to what flowtx would have been asked: the pattern's workflow, its input, and what its run was told.

The law of this file: a transaction whose rows are not those that DTM writes for its type is refused, because nobody
could say what its participants were promised.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flowtx.dtm import orders
from flowtx.dtm.takeover.records import CannotTakeOver, DtmBranch, DtmTransaction
from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.options import StoredOptions, base_interval_s, encode_options
from flowtx.settings import Settings
from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.patterns.callback import Progress, callback
from flowtx_dsl.patterns.calling import Calling, Word
from flowtx_dsl.patterns.msg import MsgBranch, msg
from flowtx_dsl.patterns.saga import SagaOrder, SagaStep, levels_of, saga
from flowtx_dsl.patterns.tcc import TccBranch, tcc
from flowtx_dsl.patterns.xa import XaBranch, xa
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.runtime.starting import check_gid


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A word that the run was told, and when, as far as DTM knows."""

    word: Word
    at: float | None = None


class Ordered(msgspec.Struct, frozen=True, kw_only=True):
    """What flowtx would have been asked.

    ``last_action`` is the branch whose action comes last, of a saga; ``retry_limit`` is a saga's, too.
    """

    workflow: AnyWorkflow
    payload: bytes
    options: bytes
    is_prepared: bool
    said: tuple[Said, ...] = ()
    last_action: str = ""
    retry_limit: int = 0


class _Options(msgspec.Struct, frozen=True):
    """DTM's ``options`` text (spec 2.5); Go's clients may write null for what is empty."""

    wait_result: bool | None = None
    timeout_to_fail: int | None = None
    request_timeout: int | None = None
    retry_interval: int | None = None
    branch_headers: dict[str, str] | None = None
    concurrent: bool | None = None
    retry_limit: int | None = None


def ordered_of(found: DtmTransaction, settings: Settings) -> Ordered:
    """What flowtx would have been asked; raises ``CannotTakeOver``."""
    try:
        check_gid(found.gid)
        options = _stored_options(found, settings)
        match found.trans_type:
            case "saga":
                return _saga(found, options, settings)
            case "msg":
                return _msg(found, options, settings)
            case "tcc":
                return _waiting(found, options, tcc, orders.tcc_order(options, settings), _tcc_words(found))
            case "xa":
                return _waiting(found, options, xa, orders.xa_order(options, settings), _xa_words(found))
            case "workflow":
                order = orders.callback_order(options, settings)
                return _waiting(found, options, callback, order, _progress_words(found))
            case unknown:
                raise CannotTakeOver(f"its type is '{unknown}', expected one of saga, tcc, xa, msg, workflow")
    except (RequestError, WorkflowError) as error:
        raise CannotTakeOver(error.message) from error


def _stored_options(found: DtmTransaction, settings: Settings) -> StoredOptions:
    try:
        read = msgspec.json.decode(found.options or "{}", type=_Options)
    except msgspec.MsgspecError as error:
        raise CannotTakeOver(f"its options cannot be read: {error}") from error
    timeout_s, interval_s = read.timeout_to_fail or 0, read.retry_interval or 0
    return StoredOptions(
        interval=base_interval_s(interval_s, timeout_s, retry_interval_s=settings.retry_interval_s),
        protocol=found.protocol or "http",
        custom_data=found.custom_data,
        query_prepared=found.query_prepared,
        wait_result=bool(read.wait_result),
        timeout_to_fail=timeout_s,
        request_timeout=read.request_timeout or 0,
        retry_interval=interval_s,
        branch_headers=read.branch_headers or {},
        concurrent=bool(read.concurrent),
        retry_limit=read.retry_limit or 0,
    )


# -- begun with all their branches


def _saga(found: DtmTransaction, options: StoredOptions, settings: Settings) -> Ordered:
    steps = tuple(
        SagaStep(branch_id=action.branch_id, action=action.url, compensate=undo.url, payload=action.payload)
        for undo, action in _pairs(found, "compensate", "action")
    )
    if len(steps) > orders.STEPS_MAX:
        raise CannotTakeOver(f"it has {len(steps)} steps, expected at most {orders.STEPS_MAX}")
    order = orders.saga_order(steps, options, settings)
    return Ordered(
        workflow=saga,
        payload=msgspec.json.encode([order]),
        options=encode_options(options),
        is_prepared=found.status == "prepared",
        last_action=_last_action(order),
        retry_limit=order.retry_limit,
    )


def _last_action(order: SagaOrder) -> str:
    if not order.steps:
        return ""
    last = levels_of(order)[-1][-1] if order.concurrent else -1
    return order.steps[last].branch_id


def _msg(found: DtmTransaction, options: StoredOptions, settings: Settings) -> Ordered:
    _check_ops(found, "action")
    if found.status == "aborting":
        raise CannotTakeOver("it is a message with status aborting, which DTM never gives one")
    branches = tuple(MsgBranch(branch_id=row.branch_id, url=row.url, payload=row.payload) for row in found.branches)
    if len(branches) > orders.STEPS_MAX:
        raise CannotTakeOver(f"it goes to {len(branches)} subscribers, expected at most {orders.STEPS_MAX}")
    return Ordered(
        workflow=msg,
        payload=msgspec.json.encode([orders.msg_order(branches, options, settings)]),
        options=encode_options(options),
        is_prepared=found.status == "prepared",
    )


# -- begun without, and told of them later


def _waiting(
    found: DtmTransaction, options: StoredOptions, workflow: AnyWorkflow, order: Calling, said: tuple[Said, ...]
) -> Ordered:
    if len(said) > orders.STEPS_MAX:
        raise CannotTakeOver(f"it has {len(said)} branches, expected at most {orders.STEPS_MAX}")
    if workflow is callback and found.status != "prepared":
        raise CannotTakeOver(f"it is a workflow with status {found.status}, which DTM never gives one")
    if found.status == "submitted":
        said = (*said, Said(word=Word(kind="submit", data=msgspec.Raw(msgspec.json.encode(order)))))
    elif found.status == "aborting":
        said = (*said, Said(word=Word(kind="abort", reason=found.rollback_reason)))
    return Ordered(
        workflow=workflow,
        payload=msgspec.json.encode([order]),
        options=encode_options(options),
        is_prepared=True,
        said=said,
    )


def _tcc_words(found: DtmTransaction) -> tuple[Said, ...]:
    return tuple(
        _registered(
            confirm,
            TccBranch(branch_id=confirm.branch_id, confirm=confirm.url, cancel=cancel.url, payload=confirm.payload),
        )
        for cancel, confirm in _pairs(found, "cancel", "confirm")
    )


def _xa_words(found: DtmTransaction) -> tuple[Said, ...]:
    pairs = _pairs(found, "rollback", "commit")
    for rollback, commit in pairs:
        if rollback.url != commit.url:
            raise CannotTakeOver(f"branch {commit.branch_id} has two URLs, expected one for both ops of an xa")
    return tuple(
        _registered(commit, XaBranch(branch_id=commit.branch_id, url=commit.url, payload=commit.payload))
        for _, commit in pairs
    )


def _progress_words(found: DtmTransaction) -> tuple[Said, ...]:
    return tuple(
        _registered(row, Progress(branch_id=row.branch_id, op=row.op, status=row.status, payload=row.payload))
        for row in found.branches
    )


def _registered(row: DtmBranch, branch: TccBranch | XaBranch | Progress) -> Said:
    return Said(word=Word(kind="branch", data=msgspec.Raw(msgspec.json.encode(branch))), at=row.created_at)


# -- rows


def _pairs(found: DtmTransaction, back: str, forth: str) -> list[tuple[DtmBranch, DtmBranch]]:
    """The two rows of every branch, in the order in which the branches were stored."""
    _check_ops(found, back, forth)
    by_branch: dict[str, dict[str, DtmBranch]] = {}
    for row in found.branches:
        by_branch.setdefault(row.branch_id, {})[row.op] = row
    for branch_id, rows in by_branch.items():
        if len(rows) != 2:
            raise CannotTakeOver(f"branch {branch_id} has no row for {({back, forth} - rows.keys()).pop()}")
        if rows[back].payload != rows[forth].payload:
            raise CannotTakeOver(f"the two rows of branch {branch_id} have unequal payloads, expected the same in both")
    return [(rows[back], rows[forth]) for rows in by_branch.values()]


def _check_ops(found: DtmTransaction, *ops: str) -> None:
    known: set[tuple[str, str]] = set()
    for row in found.branches:
        if row.op not in ops:
            raise CannotTakeOver(f"branch {row.branch_id} has op '{row.op}', expected {_in_words(ops)}")
        if row.status not in ("prepared", "succeed", "failed"):
            raise CannotTakeOver(
                f"branch {row.branch_id} {row.op} has status '{row.status}', which DTM never gives one"
            )
        if (row.branch_id, row.op) in known:
            raise CannotTakeOver(f"branch {row.branch_id} {row.op} is there twice")
        known.add((row.branch_id, row.op))


def _in_words(ops: Sequence[str]) -> str:
    return " or ".join(ops)
