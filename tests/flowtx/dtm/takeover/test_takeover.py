"""Taking over: what DTM left half done is finished by flowtx, and nothing that is done is done again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import msgspec
import pytest
import trio
from sqlalchemy import NullPool, create_engine
from trio.testing import MockClock

from flowtx.dtm.operations.branches import register_branch
from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.operations.submit import submit
from flowtx.dtm.operations.topics import urls_of
from flowtx.dtm.outcomes import Done
from flowtx.dtm.takeover.records import DtmTransaction
from flowtx.dtm.takeover.sql_source import SqlSource
from flowtx.dtm.takeover.takeover import Report, Taken, take_over
from flowtx.settings import Settings
from flowtx.testing.journal_writes import begin
from flowtx.testing.participants import Participants
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.records import Filter
from tests.flowtx.dtm.asking import called, request, rows, status, tcc_branch
from tests.flowtx.dtm.asking import transaction as seen
from tests.flowtx.dtm.takeover.stores import AT, fill_sql, msg, row, saga, tcc, transaction, xa

OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]
NOW = AT + 10


@pytest.fixture
def take(tmp_path: Path) -> Callable[..., Report]:
    """Take these transactions and topics over into a journal in memory."""

    def take_them(
        store: MemoryStore,
        *transactions: DtmTransaction,
        topics: Mapping[str, str] | None = None,
        is_dry_run: bool = False,
    ) -> Report:
        path = tmp_path / "dtm.db"
        path.unlink(missing_ok=True)
        fill_sql(create_engine(f"sqlite:///{path}", poolclass=NullPool), transactions, topics or {})
        with closing(SqlSource(f"sqlite:///{path}", name="it")) as source:
            return take_over(source, store, Settings(), is_dry_run=is_dry_run, now_at=NOW)

    return take_them


Take = Callable[..., Report]


def only(report: Report) -> Taken:
    (taken,) = report.transactions
    return taken


HALF_DONE: Sequence[tuple[DtmTransaction, str, list[str], str]] = [
    (saga("submitted", "P S P S P P"), "succeed", ["action03"], "P S P S P S"),
    (saga("submitted", "P S P S"), "succeed", [], "P S P S"),
    (saga("submitted", "P S P F"), "failed", ["compensate02", "compensate01"], "S S S F"),
    (
        saga("aborting", "P S S F", rollback_reason="url:http://p/action02 return failed: no"),
        "failed",
        ["compensate01"],
        "S S S F",
    ),
    (
        saga("aborting", "P S S P", options='{"timeout_to_fail":5}', rollback_reason="Timeout after 5 seconds"),
        "failed",
        ["compensate01"],
        "S S S P",
    ),
    (
        saga("aborting", "P S", options='{"timeout_to_fail":5}', rollback_reason="Timeout after 5 seconds"),
        "failed",
        ["compensate01"],
        "S P",
    ),
    (
        saga(
            "aborting",
            "P S P P",
            options='{"retry_limit":2}',
            rollback_reason="RetryCount is greater than RetryLimit, RetryLimit: 2",
        ),
        "failed",
        ["compensate02", "compensate01"],
        "S S S P",
    ),
    (
        saga("aborting", "P S P P", rollback_reason="nobody knows"),
        "failed",
        ["compensate02", "compensate01"],
        "S S S P",
    ),
    (
        saga("submitted", "P S P P P S", custom_data='{"concurrent":true,"orders":{"1":[0,2]}}'),
        "succeed",
        ["action02"],
        "P S P S P S",
    ),
    (saga("prepared", "P P"), "prepared", [], "P P"),
    (tcc("submitted", "P P P S"), "succeed", ["confirm01"], "P S P S"),
    (tcc("aborting", "P P S P", rollback_reason="no"), "failed", ["cancel01"], "S P S P"),
    (tcc("prepared", "P P", options='{"timeout_to_fail":12}'), "failed", ["cancel01"], "S P"),
    (xa("submitted", "P S P P"), "succeed", ["xa"], "P S P S"),
    (xa("aborting", "S P P P", rollback_reason="no"), "failed", ["xa"], "S P S P"),
    (msg("submitted", "S P P"), "succeed", ["action02", "action03"], "S S S"),
    (msg("submitted", "P S P", options='{"concurrent":true}'), "succeed", ["action01", "action03"], "S S S"),
    (msg("submitted", "S P", custom_data='{"delay":4}'), "succeed", ["action02"], "S S"),
    (msg("prepared", "P", options='{"timeout_to_fail":12}'), "succeed", ["query", "action01"], "S"),
]


@pytest.mark.parametrize("half_done", HALF_DONE, ids=lambda half: f"{half[0].gid}-{half[3].replace(' ', '')}")
async def test_what_is_left_is_done_and_nothing_else(
    half_done: tuple[DtmTransaction, str, list[str], str], autojump_clock: MockClock, open_desk: OpenDesk, take: Take
) -> None:
    found, end, left, statuses = half_done
    store, participants = MemoryStore(), Participants(delay_s=0.0)
    assert only(take(store, found)).what == "imported"
    async with open_desk(participants, store=store) as desk:
        await trio.sleep(60)
        assert (await status(desk, found.gid), sorted(called(participants))) == (end, sorted(left))
        if not found.options.startswith('{"concurrent"'):
            assert called(participants) == left
        assert await rows(desk, found.gid) == statuses
        assert all(asked.gid == found.gid for asked in participants.asked)


async def test_why_a_saga_turned_round_is_known_at_once_and_in_the_end(
    autojump_clock: MockClock, open_desk: OpenDesk, take: Take
) -> None:
    reason = "url:http://p/action02 return failed: no money"
    store, participants = MemoryStore(), Participants(delay_s=0.0)
    participants.script("/compensate01", ["break"])
    take(store, saga("aborting", "P S P F", rollback_reason=reason))
    before = store.transaction("saga-aborting")
    assert before is not None
    assert (before.status, before.reason, before.owner, before.wake_at) == ("aborting", reason, "", NOW)
    async with open_desk(participants, store=store) as desk:
        await trio.sleep(60)
        found = await seen(desk, "saga-aborting")
        assert (found.status, found.rollback_reason) == ("failed", reason)


async def test_a_prepared_tcc_can_still_be_added_to_and_submitted(
    autojump_clock: MockClock, open_desk: OpenDesk, take: Take
) -> None:
    store, participants = MemoryStore(), Participants(delay_s=0.0)
    take(store, tcc("prepared", "P P", gid="g"))
    async with open_desk(participants, store=store) as desk:
        assert await register_branch(desk, tcc_branch("02")) == Done()
        assert await submit(desk, request("tcc", wait_result=True)) == Done()
        assert called(participants) == ["confirm02", "confirm01"]


async def test_a_workflow_keeps_its_progress_and_its_client_is_called_back(
    autojump_clock: MockClock, open_desk: OpenDesk, take: Take
) -> None:
    store, participants = MemoryStore(), Participants(delay_s=0.0)
    progress = [row("01", "action", "succeed", url=""), row("02", "action", "failed", url="")]
    custom = json.dumps({"name": "transfer", "data": "aW5wdXQ="})
    take(store, transaction("workflow", "prepared", progress, custom_data=custom, gid="g"))
    async with open_desk(participants, store=store) as desk:
        assert await rows(desk) == "S F"
        await trio.sleep(5)
        (asked, *_) = participants.asked
        assert (asked.url, asked.op, asked.body) == ("http://p/query", "transfer", b"input")


def test_doing_it_twice_imports_once(take: Take) -> None:
    store = MemoryStore()
    assert only(take(store, saga("submitted", "P S P P"))).what == "imported"
    history = store.history("saga-submitted")
    again = only(take(store, saga("submitted", "P S P P")))
    assert (again.what, again.reason) == ("skipped", "it is there already, and submitted")
    assert store.history("saga-submitted") == history


def test_a_gid_of_another_transaction_is_left_alone(take: Take) -> None:
    store = MemoryStore()
    store.commit([begin("saga-submitted")])
    before = store.transaction("saga-submitted")
    taken = only(take(store, saga("submitted", "P P")))
    assert taken.what == "refused"
    assert taken.reason.startswith("its gid is taken by ")
    assert store.transaction("saga-submitted") == before
    take(store, saga("submitted", "P P", gid="other"))
    assert only(take(store, saga("submitted", "P P P P", gid="other"))).reason == (
        "its gid is taken by another saga, which is submitted"
    )


def test_a_dry_run_says_the_same_and_writes_nothing(take: Take) -> None:
    store = MemoryStore()
    many = (saga("submitted", "P S P P"), saga("submitted", "P P", gid="bad", options="{"), tcc("succeed", "P S"))
    dry = take(store, *many, topics={"t": "[]"}, is_dry_run=True)
    assert store.transactions(Filter(), before_id=None, limit=9) == []
    assert store.kv_page("", "", before_id=None, limit=9) == []
    real = take(store, *many, topics={"t": "[]"})
    assert real == msgspec.structs.replace(dry, is_dry_run=False)
    assert (real.finished_count, real.is_whole) == (1, False)
    assert [one.what for one in real.transactions] == ["imported", "refused"]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (msg("submitted", "P S"), "branch 02 action is done in DTM, but flowtx would come to it only later"),
        (saga("submitted", "S S P P"), "branch 01 compensate is done in DTM"),
        (saga("submitted", "P P P S"), "branch 02 action is done in DTM"),
        (tcc("submitted", "P F"), "branch 01 confirm has failed, which only the action of a saga can"),
        (tcc("prepared", "P S"), "branch 01 confirm is done in DTM"),
        (msg("aborting", "P"), "it is a message with status aborting"),
        (transaction("workflow", "submitted"), "it is a workflow with status submitted"),
        (transaction("other", "submitted"), "its type is 'other', expected one of saga, tcc, xa, msg, workflow"),
        (saga("submitted", "P P", options='{"retry_limit":"x"}'), "its options cannot be read"),
        (saga("submitted", "P P", custom_data='{"orders":{"0":[7]}}'), "custom_data.orders: step 0 waits for step 7"),
        (transaction("saga", "submitted", [row("01", "action")]), "branch 01 has no row for compensate"),
        (transaction("saga", "submitted", [row("01", "confirm")]), "branch 01 has op 'confirm', expected compensate"),
        (saga("submitted", "P P", gid=""), "a gid has 1 to 128 characters, got 0"),
        (msg("submitted", "P", custom_data='{"delay":-1}'), "custom_data.delay is -1"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_flowtx_could_not_go_on_with_is_left_alone_and_told(
    found: DtmTransaction, reason: str, take: Take
) -> None:
    store = MemoryStore()
    report = take(store, found, saga("submitted", "P P", gid="good"))
    assert [one.what for one in report.transactions] == ["refused", "imported"]
    assert report.transactions[0].reason.startswith(reason)
    assert store.transaction(found.gid or "none") is None


async def test_topics_are_taken_over_once(autojump_clock: MockClock, open_desk: OpenDesk, take: Take) -> None:
    store = MemoryStore()
    topics = {"t": '[{"url":"http://p/a","remark":"x"},{"url":"http://p/b","remark":""}]', "bad": "{"}
    assert [one.what for one in take(store, topics=topics).topics] == ["imported", "refused"]
    assert [one.what for one in take(store, topics=topics).topics] == ["skipped", "refused"]
    (changed, _) = take(store, topics={**topics, "t": "[]"}).topics
    assert (changed.what, changed.reason) == ("refused", "flowtx has a topic of this name with other subscribers")
    async with open_desk(store=store) as desk:
        assert await urls_of(desk, "t") == ("http://p/a", "http://p/b")
