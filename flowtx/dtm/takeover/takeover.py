"""Taking over: DTM's unfinished transactions and its topics become flowtx's, each once.

The law of this file: a transaction is taken over whole, in one append, or left alone with a reason. What is there
already is compared and never changed, so that whoever is interrupted can begin anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Literal

import msgspec

from flowtx.dtm.operations.topics import CATEGORY, SUBSCRIBERS_MAX, TOPIC_LENGTH_MAX, Subscriber
from flowtx.dtm.takeover.history import History, history_of
from flowtx.dtm.takeover.ordered import Ordered, ordered_of
from flowtx.dtm.takeover.records import CannotTakeOver, DtmTopic, DtmTransaction, Source, Unreadable
from flowtx.dtm.wire import answers
from flowtx.settings import Settings
from flowtx_engine.journal.codec import refuse_encoded_row
from flowtx_engine.journal.errors import ConflictError, UnstorableWrite
from flowtx_engine.journal.records import NewTransaction, Transaction, Write
from flowtx_engine.journal.store import Store
from flowtx_engine.runtime.history import row_of

BATCH = 200
"""Transactions written in one commit."""

What = Literal["imported", "skipped", "refused"]


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a transaction; ``status`` is flowtx's for what was imported, and DTM's for what was refused."""

    gid: str
    pattern: str
    status: str
    what: What
    reason: str = ""


class TopicTaken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a topic."""

    topic: str
    what: What
    reason: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of everything; ``finished_count`` are those that DTM has finished, which stay where they are."""

    is_dry_run: bool
    transactions: tuple[Taken, ...]
    topics: tuple[TopicTaken, ...]
    finished_count: int

    @property
    def is_whole(self) -> bool:
        """True when nothing had to be left behind."""
        return "refused" not in [one.what for one in self.transactions] + [one.what for one in self.topics]


def take_over(source: Source, store: Store | None, settings: Settings, *, is_dry_run: bool, now_at: float) -> Report:
    """Bring over what DTM has not finished; ``store`` is None for a journal that does not exist, on a dry run.

    Raises ``SourceError``, and ``JournalError`` for a journal that cannot be used; what was written by then stays.
    """
    assert store is not None or is_dry_run
    found = source.unfinished()
    taken: list[Taken] = []
    while batch := list(islice(found, BATCH)):
        taken += _Batch(store, settings, is_dry_run=is_dry_run, now_at=now_at).take(batch)
    topics = tuple(_topics_taken(source, store, is_dry_run=is_dry_run, now_at=now_at))
    return Report(
        is_dry_run=is_dry_run,
        transactions=tuple(taken),
        topics=topics,
        finished_count=source.finished_count(),
    )


# -- transactions


class _New(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction that flowtx can go on with."""

    found: DtmTransaction
    ordered: Ordered
    history: History


class _Batch:
    """Some transactions, written together."""

    def __init__(self, store: Store | None, settings: Settings, *, is_dry_run: bool, now_at: float) -> None:
        self._store = store
        self._settings = settings
        self._is_dry_run = is_dry_run
        self._now_at = now_at

    def take(self, batch: list[DtmTransaction | Unreadable]) -> Iterator[Taken]:
        """What became of each, in their order."""
        looked = [self._look(found) for found in batch]
        new = [one for one in looked if isinstance(one, _New)]
        written = {} if self._is_dry_run else self._written(new)
        for one in looked:
            yield one if isinstance(one, Taken) else written.get(one.found.gid) or _imported(one)

    def _look(self, found: DtmTransaction | Unreadable) -> _New | Taken:
        if isinstance(found, Unreadable):
            return Taken(gid=found.gid, pattern="", status="", what="refused", reason=found.reason)
        try:
            ordered = ordered_of(found, self._settings)
            row = None if self._store is None else self._store.transaction(found.gid)
            if row is not None:
                return _compared(found, ordered, row)
            return _New(found=found, ordered=ordered, history=history_of(found, ordered, now_at=self._now_at))
        except CannotTakeOver as error:
            return _refused(found, error.message)

    def _written(self, new: list[_New]) -> dict[str, Taken]:
        """Write them, and return those that were not imported, by gid."""
        if not new:
            return {}
        assert self._store is not None
        otherwise: dict[str, Taken] = {}
        for one, result in zip(new, self._store.commit([self._write_of(one) for one in new]), strict=True):
            if isinstance(result, ConflictError):  # somebody began it between the two looks
                row = self._store.transaction(one.found.gid)
                assert row is not None, one.found.gid
                otherwise[one.found.gid] = _compared(one.found, one.ordered, row)
            elif isinstance(result, UnstorableWrite):
                otherwise[one.found.gid] = _refused(one.found, result.message)
            elif result is not None:
                raise result
        return otherwise

    def _write_of(self, one: _New) -> Write:
        history, workflow = one.history, one.ordered.workflow
        new = NewTransaction(
            pattern=one.found.trans_type,
            workflow=workflow.name,
            version=workflow.version,
            status=history.status,
            owner="",
            wake_at=history.wake_at,
            input=one.ordered.payload,
            options=one.ordered.options,
            created_at=history.events[0].at,
            reason=history.reason,
        )
        gid = one.found.gid
        return Write(gid=gid, rows=tuple(row_of(gid, event) for event in history.events), change=new)


def _compared(found: DtmTransaction, ordered: Ordered, row: Transaction) -> Taken:
    refuse_encoded_row(row)
    if (row.pattern, row.workflow, row.input) == (found.trans_type, ordered.workflow.name, ordered.payload):
        reason = f"it is there already, and {row.status}"
        return Taken(gid=found.gid, pattern=row.pattern, status=row.status, what="skipped", reason=reason)
    what = f"a {row.pattern}" if row.pattern != found.trans_type else f"another {row.pattern}"
    return _refused(found, f"its gid is taken by {what}, which is {row.status}")


def _imported(one: _New) -> Taken:
    return Taken(gid=one.found.gid, pattern=one.found.trans_type, status=one.history.status, what="imported")


def _refused(found: DtmTransaction, reason: str) -> Taken:
    return Taken(gid=found.gid, pattern=found.trans_type, status=found.status, what="refused", reason=reason)


# -- topics


def _topics_taken(source: Source, store: Store | None, *, is_dry_run: bool, now_at: float) -> Iterator[TopicTaken]:
    for topic in source.topics():
        try:
            value = _value_of(topic)
        except CannotTakeOver as error:
            yield TopicTaken(topic=topic.name, what="refused", reason=error.message)
            continue
        entries = [] if store is None else store.kv_page(CATEGORY, topic.name, before_id=None, limit=1)
        if entries and entries[0].value == value:
            yield TopicTaken(topic=topic.name, what="skipped", reason="it is there already")
        elif entries:
            reason = "flowtx has a topic of this name with other subscribers"
            yield TopicTaken(topic=topic.name, what="refused", reason=reason)
        else:
            if not is_dry_run:
                assert store is not None
                store.kv_put(CATEGORY, topic.name, value, version=0, now_at=now_at)
            yield TopicTaken(topic=topic.name, what="imported")


def _value_of(topic: DtmTopic) -> str:
    """A topic as flowtx keeps it; raises ``CannotTakeOver``."""
    try:
        subscribers = msgspec.json.decode(topic.value or "[]", type=tuple[Subscriber, ...])
    except msgspec.MsgspecError as error:
        raise CannotTakeOver(f"its subscribers cannot be read: {error}") from error
    if not 0 < len(topic.name) <= TOPIC_LENGTH_MAX:
        raise CannotTakeOver(f"its name has {len(topic.name)} characters, expected 1 to {TOPIC_LENGTH_MAX}")
    if len(subscribers) > SUBSCRIBERS_MAX:
        raise CannotTakeOver(f"it has {len(subscribers)} subscribers, expected at most {SUBSCRIBERS_MAX}")
    return answers.encode(subscribers).decode()
