"""Every statement of the SQL journal, in one place.

The law of this file: the three statements of the hot path take a whole batch each, as one ``VALUES`` list. Not
``executemany``: Python's sqlite3 gives up the interpreter's lock for every row, and gets it back only when the event
loop's thread lets go, up to 5 ms later. Measured with that thread busy: 64 rows took 158 ms one by one, 8 ms as a list.
Lists have a few sizes only and are filled up with NULLs, so each text is prepared once and then found in the cache.

They are SQLite's dialect (3.35 or newer); the others, built with SQLAlchemy Core, are everybody's.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterator, Sequence

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    union_all,
    update,
)

from flowtx_engine.journal.records import FINAL, Filter, KvEntry, Transaction
from flowtx_engine.journal.schema import journal, kv, loaded, metadata, nodes, places, schema_version, transactions
from flowtx_engine.journal.sql_batch import Row

# --- the hot path ---

LIST_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""How long a ``VALUES`` list may be; a longer one is cut. 512 rows of 15 values are well below SQLite's 32,766."""

# New transactions. Fails when a gid is taken. NULL rows fill the list up.
_INSERT_TRANSACTIONS = f"""
INSERT INTO {transactions.name}
  (gid, pattern, workflow, version, status, owner, wake_at, created_at, begun_by, reason, options,
   input, attempt_count, last_error, updated_at)
WITH v (gid, pattern, workflow, version, status, owner, wake_at, created_at, begun_by, reason, options,
        input) AS (VALUES {{}})
SELECT v.*, 0, '', v.created_at FROM v WHERE v.gid IS NOT NULL
"""
_TRANSACTION_WIDTH = 12

# Places of new transactions whose workflow has a limit; a batch without any costs nothing.
_INSERT_PLACES = f"""
INSERT INTO {places.name} (transaction_id, workflow, key, due_at)
WITH v (gid, key, due_at) AS (VALUES {{}})
SELECT t.id, t.workflow, v.key, v.due_at FROM v CROSS JOIN {transactions.name} AS t ON t.gid = v.gid
"""
_PLACE_WIDTH = 3

# Journal rows, under their transaction's id. Fails when a seq is taken. Inserts too few when the gid is unknown, or the
# seq before the first (its fence) is missing: a gap is a write that overtook another, or outlived its transaction.
_INSERT_JOURNAL = f"""
INSERT INTO {journal.name} (transaction_id, seq, kind, address, at, data)
WITH v (gid, seq, kind, address, at, data, fence) AS (VALUES {{}})
SELECT t.id, v.seq, v.kind, v.address, v.at, v.data
FROM v CROSS JOIN {transactions.name} AS t ON t.gid = v.gid
WHERE v.fence IS NULL OR EXISTS (
  SELECT 1 FROM {journal.name} AS j WHERE j.transaction_id = t.id AND j.seq = v.fence)
"""
_JOURNAL_WIDTH = 7

# Changes of rows, one a gid. One statement for whatever columns change: NULL leaves a column that cannot be NULL, and
# a flag says whether one that can is meant. Changes too few when a gid is unknown.
_UPDATE_TRANSACTIONS = f"""
UPDATE {transactions.name} AS t SET
  updated_at = v.updated_at,
  status = coalesce(v.status, t.status),
  owner = coalesce(v.owner, t.owner),
  wake_at = CASE WHEN v.has_wake_at THEN v.wake_at ELSE t.wake_at END,
  attempt_count = coalesce(v.attempt_count, t.attempt_count),
  last_error = coalesce(v.last_error, t.last_error),
  result = CASE WHEN v.has_result THEN v.result ELSE t.result END,
  reason = coalesce(v.reason, t.reason),
  finished_at = CASE WHEN v.has_finished_at THEN v.finished_at ELSE t.finished_at END,
  nudged_at = CASE WHEN v.has_nudged_at THEN v.nudged_at ELSE t.nudged_at END,
  options = coalesce(v.options, t.options),
  needs_decision = coalesce(v.needs_decision, t.needs_decision)
FROM (
  WITH list (gid, updated_at, status, owner, has_wake_at, wake_at, attempt_count, last_error, has_result, result,
             reason, has_finished_at, finished_at, has_nudged_at, nudged_at, options, needs_decision) AS (VALUES {{}})
  SELECT * FROM list) AS v
WHERE t.gid = v.gid
"""
_CHANGE_WIDTH = 17

Filled = tuple[str, tuple[object, ...], int]
"""A statement's text, its parameters, and how many rows it must change."""


def insert_transactions(rows: Sequence[Row]) -> Iterator[Filled]:
    """Statements that insert new transactions."""
    return _filled(_INSERT_TRANSACTIONS, _TRANSACTION_WIDTH, rows)


def insert_places(rows: Sequence[Row]) -> Iterator[Filled]:
    """Statements that let new transactions wait for a place."""
    return _filled(_INSERT_PLACES, _PLACE_WIDTH, rows)


def insert_journal(rows: Sequence[Row]) -> Iterator[Filled]:
    """Statements that insert journal rows behind their fences."""
    return _filled(_INSERT_JOURNAL, _JOURNAL_WIDTH, rows)


def update_transactions(rows: Sequence[Row]) -> Iterator[Filled]:
    """Statements that change transactions."""
    return _filled(_UPDATE_TRANSACTIONS, _CHANGE_WIDTH, rows)


def _filled(template: str, width: int, rows: Sequence[Row]) -> Iterator[Filled]:
    for start in range(0, len(rows), LIST_SIZES[-1]):
        part = rows[start : start + LIST_SIZES[-1]]
        size = LIST_SIZES[bisect.bisect_left(LIST_SIZES, len(part))]
        values = [value for row in part for value in row]
        values += [None] * (width * (size - len(part)))
        yield _text(template, width, size), tuple(values), len(part)


@functools.cache
def _text(template: str, width: int, size: int) -> str:
    row = f"({', '.join('?' * width)})"
    return template.format(", ".join([row] * size))


# --- reading ---

# In the order of the struct's fields, which is not the table's.
COLUMNS = [transactions.c[name] for name in Transaction.__struct_fields__]
_unfinished = transactions.c.status.not_in(sorted(FINAL))
UNFINISHED = ("prepared", "submitted", "aborting")

# One row by its gid.
TRANSACTION = select(*COLUMNS).where(transactions.c.gid == bindparam("gid"))

# One gid's journal from a seq on.
HISTORY = (
    select(journal.c.seq, journal.c.kind, journal.c.address, journal.c.data, journal.c.at)
    .join(transactions, transactions.c.id == journal.c.transaction_id)
    .where(transactions.c.gid == bindparam("gid"), journal.c.seq >= bindparam("from_seq"))
    .order_by(journal.c.seq)
)

# Let go of a gid's journal before a seq: its run has begun again.
LET_GO = delete(journal).where(
    journal.c.transaction_id
    == select(transactions.c.id).where(transactions.c.gid == bindparam("gid")).scalar_subquery(),
    journal.c.seq < bindparam("keeps_from"),
)

# The journals of several gids, one after another, and no more rows than asked for.
HISTORIES = (
    select(transactions.c.gid, journal.c.seq, journal.c.kind, journal.c.address, journal.c.data, journal.c.at)
    .join(journal, journal.c.transaction_id == transactions.c.id)
    .where(transactions.c.gid.in_(bindparam("gids", expanding=True)))
    .order_by(transactions.c.id, journal.c.seq)
    .limit(bindparam("limit", type_=Integer))
)

# At which seq a gid's journal goes on; no row at all when there is no such gid. For the words of a conflict.
NEXT_SEQ = (
    select(func.coalesce(func.max(journal.c.seq) + 1, 0))
    .select_from(transactions.outerjoin(journal, transactions.c.id == journal.c.transaction_id))
    .where(transactions.c.gid == bindparam("gid"))
    .group_by(transactions.c.id)
)


def page(wanted: Filter, before_id: int | None, limit: int) -> Select[*tuple[object, ...]]:
    """A page of transactions, newest first."""
    if not wanted.unfinished:
        return _part(_conditions(wanted, before_id), limit)
    # A million finished rows may lie between two that are not: walk each unfinished status by its index, then merge.
    parts = [
        _part([*_conditions(wanted, before_id), transactions.c.status == status], limit).subquery()
        for status in UNFINISHED
    ]
    merged = union_all(*(select(part) for part in parts)).subquery()
    return select(merged).order_by(merged.c.id.desc()).limit(limit)


def _part(conditions: list[ColumnElement[bool]], limit: int) -> Select[*tuple[object, ...]]:
    return select(*COLUMNS).where(*conditions).order_by(transactions.c.id.desc()).limit(limit)


def _conditions(wanted: Filter, before_id: int | None) -> list[ColumnElement[bool]]:
    row = transactions.c
    conditions = [
        row[name] == value
        for name, value in (("status", wanted.status), ("pattern", wanted.pattern), ("workflow", wanted.workflow))
        if value
    ]
    if wanted.created_from_at is not None:
        conditions.append(row.created_at >= wanted.created_from_at)
    if wanted.created_to_at is not None:
        conditions.append(row.created_at <= wanted.created_to_at)
    if wanted.needs_decision:
        conditions.append(row.needs_decision)
    if before_id is not None:
        conditions.append(row.id < before_id)
    return conditions


# --- nodes ---

# The owner that follows another in the index, '' before all. Owners are few and transactions many, so asking for the
# next one again and again is a handful of look-ups, where DISTINCT would walk the whole index.
NEXT_OWNER = select(func.min(transactions.c.owner)).where(transactions.c.owner > bindparam("owner"))

# Nodes that are alive at an instant.
ALIVE = select(nodes.c.node).where(nodes.c.alive_until_at >= bindparam("now_at"))

# What one owner has of one workflow that is due, most overdue first: a range of the index. Without the payloads, which
# are read only for what is taken in the end.
DUE = (
    select(transactions.c.wake_at, transactions.c.id)
    .where(
        transactions.c.owner == bindparam("owner"),
        transactions.c.workflow == bindparam("workflow"),
        transactions.c.version == bindparam("version"),
        transactions.c.wake_at <= bindparam("now_at"),
        _unfinished,
    )
    .order_by(transactions.c.wake_at, transactions.c.id)
    .limit(bindparam("limit", type_=Integer))
)

# When the next transaction of nobody is due, for one workflow: the first row of a range of the index.
NEXT_WAKE_AT = (
    select(transactions.c.wake_at)
    .where(
        transactions.c.owner == literal(""),
        transactions.c.workflow == bindparam("workflow"),
        transactions.c.version == bindparam("version"),
        transactions.c.wake_at.is_not(None),
        _unfinished,
    )
    .order_by(transactions.c.wake_at)
    .limit(1)
)

# Give transactions to a node.
CLAIM = (
    update(transactions)
    .where(transactions.c.id.in_(bindparam("ids", expanding=True)))
    .values(owner=bindparam("node"), updated_at=bindparam("now_at"))
)

# Rows by their ids.
BY_IDS = select(*COLUMNS).where(transactions.c.id.in_(bindparam("ids", expanding=True)))

# The gids a node owns.
OWNED = (
    select(transactions.c.gid).where(transactions.c.owner == bindparam("node"), _unfinished).order_by(transactions.c.id)
)

# The gids of a node that somebody else appended to.
NUDGED = (
    select(transactions.c.gid)
    .where(transactions.c.owner == bindparam("node"), transactions.c.nudged_at >= bindparam("since_at"))
    .order_by(transactions.c.id)
)

# A heartbeat; when it changes no row, the node is new.
BEAT = update(nodes).where(nodes.c.node == bindparam("name")).values(alive_until_at=bindparam("until_at"))
FIRST_BEAT = insert(nodes).values(node=bindparam("name"), alive_until_at=bindparam("until_at"))

# Forget nodes that are dead for long and own nothing.
FORGET = delete(nodes).where(
    nodes.c.alive_until_at < bindparam("before_at"),
    ~exists().where(and_(transactions.c.owner == nodes.c.node)),
)

# Give back what a node owns, due at once.
RELEASE = (
    update(transactions)
    .where(transactions.c.owner == bindparam("owner_before"), _unfinished)
    .values(owner="", wake_at=bindparam("now_at"), updated_at=bindparam("now_at"))
)
LEAVE = delete(nodes).where(nodes.c.node == bindparam("name"))

# Forget whatever else there is but the nodes and what they have loaded, the tables of later versions included.
EMPTY = [delete(table) for table in metadata.sorted_tables if table not in (nodes, loaded, schema_version)]

# --- key-values ---

_KV_COLUMNS = [kv.c[name] for name in KvEntry.__struct_fields__]
_this_value = and_(kv.c.category == bindparam("cat"), kv.c.key == bindparam("k"))


def kv_page(category: str, key: str, before_id: int | None, limit: int) -> Select[*tuple[object, ...]]:
    """A page of values, newest first."""
    conditions = [column == text for column, text in ((kv.c.category, category), (kv.c.key, key)) if text]
    if before_id is not None:
        conditions.append(kv.c.id < before_id)
    return select(*_KV_COLUMNS).where(*conditions).order_by(kv.c.id.desc()).limit(limit)


# The version of one value; no row at all when there is none.
KV_VERSION = select(kv.c.version).where(_this_value)

# A new value, and the next version of one that is there.
KV_INSERT = insert(kv).values(
    category=bindparam("cat"),
    key=bindparam("k"),
    value=bindparam("v"),
    version=1,
    created_at=bindparam("now_at"),
    updated_at=bindparam("now_at"),
)
KV_UPDATE = (
    update(kv)
    .where(_this_value, kv.c.version == bindparam("before"))
    .values(value=bindparam("v"), version=kv.c.version + 1, updated_at=bindparam("now_at"))
)
KV_DELETE = delete(kv).where(_this_value)

# Which code a node has; it says so whole. Forgotten with the node.
DECLARE = insert(loaded)
UNDECLARE = delete(loaded).where(loaded.c.node == bindparam("name"))
FORGET_LOADED = delete(loaded).where(~exists().where(nodes.c.node == loaded.c.node))

# Which code the nodes that are alive have.
LOADED = (
    select(loaded.c.workflow, loaded.c.version)
    .join(nodes, nodes.c.node == loaded.c.node)
    .where(nodes.c.alive_until_at >= bindparam("now_at"))
    .distinct()
)

# --- for people ---

# How many transactions have each status, from the index alone.
COUNTS = select(transactions.c.status, func.count()).group_by(transactions.c.status)
