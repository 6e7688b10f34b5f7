"""Stored objects as DTM shows them (spec 2.5).

The law of this file: a view is computed from a row and its events, never stored. Fields stand in DTM's order; those
without a default are always there, the others are left out when empty. All times are UTC, so that no change of a
server's zone moves them.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from flowtx.dtm.wire.options import decode_options
from flowtx_dsl.patterns.callback import callback
from flowtx_dsl.patterns.calling import retry_of
from flowtx_dsl.queues import without_secrets
from flowtx_engine.journal.records import KvEntry, Transaction

_LATEST_AT = 253_402_300_799.0  # the end of the year 9999, after which RFC 3339 has no words


class TransactionView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A transaction, as DTM's SQL stores show it: steps in the branches only, options as their text.

    ``last_error``, which DTM has not, says why it is tried again.
    """

    id: int
    create_time: str
    update_time: str
    gid: str = ""
    trans_type: str = ""
    status: str = ""
    query_prepared: str = ""
    protocol: str = ""
    finish_time: str = ""
    rollback_time: str = ""
    result: str = ""
    rollback_reason: str = ""
    options: str = ""
    custom_data: str = ""
    next_cron_interval: int = 0
    next_cron_time: str = ""
    owner: str = ""
    concurrent: bool
    last_error: str = ""


class BranchView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A branch and one thing it can be asked; ``id`` is 0, as in DTM's stores that keep no branch rows."""

    id: int
    create_time: str
    update_time: str
    gid: str = ""
    url: str = ""
    bin_data: bytes = b""
    branch_id: str = ""
    op: str = ""
    status: str = ""
    finish_time: str = ""


class QueryView(msgspec.Struct, frozen=True, kw_only=True):
    """What ``query`` answers."""

    branches: list[BranchView]
    transaction: TransactionView | None


class WorkflowView(msgspec.Struct, frozen=True, kw_only=True):
    """What ``prepareWorkflow`` answers; neither is ever null, because Go's client looks into both."""

    progresses: list[BranchView]
    transaction: TransactionView


class ListView(msgspec.Struct, frozen=True, kw_only=True):
    """What ``all`` answers; ``transactions`` is null when a gid was asked for that nobody has."""

    next_position: str
    transactions: list[TransactionView] | None


class KvView(msgspec.Struct, frozen=True, kw_only=True):
    """A key-value."""

    id: int
    create_time: str
    update_time: str
    cat: str
    k: str
    v: str
    version: int


class KvPage(msgspec.Struct, frozen=True, kw_only=True):
    """What ``queryKV`` answers."""

    kv: list[KvView]


class KvScan(msgspec.Struct, frozen=True, kw_only=True):
    """What ``scanKV`` answers."""

    kv: list[KvView]
    next_position: str


def view_kv(entry: KvEntry) -> KvView:
    """A key-value as DTM shows it."""
    return KvView(
        id=entry.id,
        create_time=spell_time(entry.created_at),
        update_time=spell_time(entry.updated_at),
        cat=entry.category,
        k=entry.key,
        v=without_secrets(entry.value),  # topics may name queues
        version=entry.version,
    )


def view_transaction(row: Transaction, now_at: float) -> TransactionView:
    """A row as DTM shows it at an instant.

    Raises ``msgspec.DecodeError`` when its options are not what this version wrote.
    """
    options = decode_options(row.options)
    finished = spell_time(row.finished_at) if row.finished_at is not None else ""
    interval = _interval_s(row, options.interval)
    return TransactionView(
        id=row.id,
        create_time=spell_time(row.created_at),
        update_time=spell_time(row.updated_at),
        gid=row.gid,
        trans_type=row.pattern,
        status=row.status,
        query_prepared=options.query_prepared,
        protocol=options.protocol,
        finish_time=finished if row.status == "succeed" else "",
        rollback_time=finished if row.status == "failed" else "",
        result=_result_of(row),
        rollback_reason=row.reason,
        options=options.text,
        custom_data=options.custom_data,
        next_cron_interval=interval,
        next_cron_time=spell_time(_next_at(row, interval, now_at)),
        owner=row.owner,
        concurrent=False,
        last_error=row.last_error,
    )


def _result_of(row: Transaction) -> str:
    """What a client said its workflow ended with; DTM's other patterns have no result."""
    if row.workflow != callback.name or row.status != "succeed" or row.result is None:
        return ""
    return msgspec.json.decode(row.result, type=str)


def _interval_s(row: Transaction, base_s: int) -> int:
    """The pause that is in force after so many faults; 0 for a transaction that did not come over DTM's protocol."""
    return round(retry_of(base_s).pause_s(row.attempt_count, dice=0.5))


def _next_at(row: Transaction, interval_s: int, now_at: float) -> float:
    """When it is due: as stored while it rests, an interval after its last change while it is on its way."""
    if row.is_final:
        return now_at  # nothing is due any more, and what was reset is due now (check 33)
    if row.wake_at is not None and (row.wake_at > row.updated_at or not row.owner):
        return row.wake_at
    return row.updated_at + interval_s


def spell_time(at: float) -> str:
    """An instant (seconds since the epoch) as RFC 3339, its fraction without trailing zeros."""
    instant = datetime.fromtimestamp(min(max(at, 0.0), _LATEST_AT), UTC)
    text = instant.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{instant.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"
