"""Branches as DTM shows them: which rows there are, in which order, and how they follow the journal."""

from __future__ import annotations

import msgspec

from flowtx.dtm.branches import Place, branch_views, replayed
from flowtx.dtm.wire import answers
from flowtx.dtm.wire.options import StoredOptions, encode_options
from flowtx_dsl.error_codec import encode_error
from flowtx_dsl.errors import Refused as RefusedError
from flowtx_dsl.errors import StepFault
from flowtx_dsl.patterns.callback import CallbackOrder, Progress
from flowtx_dsl.patterns.calling import WORD, Calling, Word
from flowtx_dsl.patterns.msg import MsgBranch, MsgOrder
from flowtx_dsl.patterns.saga import SagaOrder
from flowtx_dsl.patterns.tcc import TccBranch, TccOrder
from flowtx_dsl.patterns.xa import XaBranch, XaOrder
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import (
    AnyFact,
    Attempted,
    Began,
    CallRecord,
    Event,
    Failed,
    Refused,
    Signalled,
    Succeeded,
)
from tests.rows import SAGA_OF_TWO, transaction_row


def row_of(pattern: str, order: Calling) -> Transaction:
    return transaction_row(
        gid="g&1",
        created_at=1_700_000_000.5,
        pattern=pattern,
        workflow=f"dtm.{pattern}",
        input=msgspec.json.encode([order]),
        options=encode_options(StoredOptions(interval=10, protocol="http")),
    )


Entry = tuple[str, AnyFact]


def history(*facts: Entry, is_prepared: bool = False) -> list[Event]:
    every = (("", Began(workflow="dtm", is_prepared=is_prepared)), *facts)
    return [Event(seq=i, at=1_700_000_000.0 + i, address=address, fact=fact) for i, (address, fact) in enumerate(every)]


def call(url: str, body: str = "{}") -> CallRecord:
    return CallRecord(name=f"http://p/{url}", args=msgspec.Raw(msgspec.json.encode([body])))


def done(address: str, url: str, body: str = "{}") -> Entry:
    return address, Succeeded(call=call(url, body))


def refused(address: str, url: str) -> Entry:
    return address, Refused(call=call(url), error=encode_error(RefusedError("no")))


def attempted(address: str, url: str) -> Entry:
    error = encode_error(RefusedError("no"))
    return address, Attempted(call=call(url), outcome="unknown", error=error, attempt=1, fault_count=1, retry_at=9.0)


def told(word: Word) -> Entry:
    return "", Signalled(name=WORD, value=msgspec.Raw(msgspec.json.encode(word)))


def registered(branch: msgspec.Struct) -> Entry:
    return told(Word(kind="branch", data=msgspec.Raw(msgspec.json.encode(branch))))


def rows(row: Transaction, events: list[Event]) -> str:
    return " ".join(f"{view.branch_id}:{view.op}:{view.status}" for view in branch_views(row, events))


def statuses(order: SagaOrder, *facts: Entry) -> str:
    return " ".join(view.status[0].upper() for view in branch_views(row_of("saga", order), history(*facts)))


def test_a_branch_is_spelled_with_the_fields_of_dtm() -> None:
    (first, second, *_) = branch_views(row_of("saga", SAGA_OF_TWO), history(done("0", "do1")))
    assert answers.encode(first).decode() == (
        '{"id":0,"create_time":"2023-11-14T22:13:20.5Z","update_time":"2023-11-14T22:13:20.5Z","gid":"g\\u00261",'
        '"url":"http://p/undo1","bin_data":"e30=","branch_id":"01","op":"compensate","status":"prepared"}'
    )
    assert answers.encode(second).decode() == (
        '{"id":0,"create_time":"2023-11-14T22:13:20.5Z","update_time":"2023-11-14T22:13:21Z","gid":"g\\u00261",'
        '"url":"http://p/do1","bin_data":"e30=","branch_id":"01","op":"action","status":"succeed",'
        '"finish_time":"2023-11-14T22:13:21Z"}'
    )


def test_the_rows_of_a_saga_follow_the_journal() -> None:
    # Compensate and action of each step, as DTM's own tests write them.
    assert statuses(SAGA_OF_TWO) == "P P P P"
    assert statuses(SAGA_OF_TWO, attempted("0", "do1")) == "P P P P"
    assert statuses(SAGA_OF_TWO, done("0", "do1")) == "P S P P"
    there = (done("0", "do1"), refused("1", "do2"))
    assert statuses(SAGA_OF_TWO, *there) == "P S P F"
    back = (attempted("1/c", "undo2"), done("1/c", "undo2"), done("0/c", "undo1"))
    assert statuses(SAGA_OF_TWO, *there, *back) == "S S S F"


def test_the_rows_of_a_concurrent_saga_follow_it_too() -> None:
    order = msgspec.structs.replace(SAGA_OF_TWO, concurrent=True, after=((1,), ()))
    assert statuses(order, done("1/0/0", "do2")) == "P P P S"
    assert statuses(order, done("1/0/0", "do2"), refused("2/0/0", "do1"), done("2/0/0/c", "undo1")) == "S F P S"


def test_a_branch_with_a_retry_limit_may_take_several_calls() -> None:
    order = msgspec.structs.replace(SAGA_OF_TWO, retry_limit=2)
    given_up = ("1/0/0", Failed(call=call("do1"), error=encode_error(StepFault("nobody answered"))))
    assert statuses(order, given_up) == "P P P P"
    assert statuses(order, given_up, done("1/0/1", "do1")) == "P S P P"


def test_a_journal_that_other_code_wrote_is_shown_as_far_as_it_can_be_read() -> None:
    assert statuses(SAGA_OF_TWO, done("0", "do1"), done("1", "something else")) == "P S P P"


def test_what_a_run_waits_for_is_known() -> None:
    found = replayed(row_of("saga", SAGA_OF_TWO), history(done("0", "do1")))
    assert found.waiting == [Place("02", "action", "http://p/do2")]
    assert found.places["0"] == Place("01", "action", "http://p/do1")


def test_the_rows_of_a_message_are_its_subscribers() -> None:
    order = MsgOrder(
        branches=tuple(MsgBranch(branch_id=f"01-0{i}", url=f"http://p/{i}", payload=b"{}") for i in (1, 2)),
        request_timeout_s=3.0,
        retry_interval_s=10.0,
    )
    row = row_of("msg", order)
    assert rows(row, history()) == "01-01:action:prepared 01-02:action:prepared"
    assert rows(row, history(done("0/m", "1"))) == "01-01:action:succeed 01-02:action:prepared"


def test_the_rows_of_a_tcc_are_cancel_and_confirm_of_what_was_registered() -> None:
    order = TccOrder(timeout_s=35, request_timeout_s=3.0, retry_interval_s=10.0)
    branch = registered(TccBranch(branch_id="01", confirm="http://p/yes", cancel="http://p/no", payload=b"{}"))
    submitted = told(Word(kind="submit", data=msgspec.Raw(msgspec.json.encode(order))))
    row = row_of("tcc", order)
    assert rows(row, history(is_prepared=True)) == ""
    assert rows(row, history(branch, is_prepared=True)) == "01:cancel:prepared 01:confirm:prepared"
    confirmed = history(branch, submitted, done("2/m", "yes"), is_prepared=True)
    assert rows(row, confirmed) == "01:cancel:prepared 01:confirm:succeed"
    cancelled = history(branch, told(Word(kind="abort")), done("1/c", "no"), is_prepared=True)
    assert rows(row, cancelled) == "01:cancel:succeed 01:confirm:prepared"


def test_the_rows_of_an_xa_are_rollback_and_commit_of_what_was_registered() -> None:
    order = XaOrder(timeout_s=35, request_timeout_s=3.0, retry_interval_s=10.0)
    branch = registered(XaBranch(branch_id="01", url="http://p/xa"))
    row = row_of("xa", order)
    assert rows(row, history(branch, is_prepared=True)) == "01:rollback:prepared 01:commit:prepared"
    (first, second) = branch_views(row, history(branch, is_prepared=True))
    assert (first.url, second.url) == ("http://p/xa", "http://p/xa")


def test_the_rows_of_a_workflow_are_what_its_client_reported() -> None:
    order = CallbackOrder(request_timeout_s=3.0, retry_interval_s=10.0)
    steps = (
        registered(Progress(branch_id="01", op="action", status="succeed", payload=b"result")),
        registered(Progress(branch_id="02", op="action", status="failed", payload=b"why")),
    )
    row = row_of("workflow", order)
    assert rows(row, history(*steps, is_prepared=True)) == "01:action:succeed 02:action:failed"
    assert [view.bin_data for view in branch_views(row, history(*steps, is_prepared=True))] == [b"result", b"why"]


def test_a_workflow_of_the_library_has_no_branches() -> None:
    row = msgspec.structs.replace(row_of("workflow", SAGA_OF_TWO), workflow="transfer")
    assert branch_views(row, history(done("0", "do1"))) == []
