"""Stored things as DTM shows them: which fields, in which order, and when they are left out."""

from __future__ import annotations

import msgspec
import pytest

from flowtx.dtm.wire import answers
from flowtx.dtm.wire.options import StoredOptions, encode_options
from flowtx.dtm.wire.views import spell_time, view_transaction
from flowtx_engine.journal.records import Transaction
from tests.rows import SAGA_OF_TWO, transaction_row

ROW = transaction_row(
    id=7,
    gid="g&1",
    pattern="saga",
    workflow="dtm.saga",
    input=msgspec.json.encode([SAGA_OF_TWO]),
    options=encode_options(StoredOptions(interval=10, protocol="http")),
    created_at=1_700_000_000.5,
    updated_at=1_700_000_001.0,
)


NOW_AT = 1_700_000_100.0


def row_with(**changes: object) -> Transaction:
    return msgspec.structs.replace(ROW, **changes)


def spelled(row: Transaction) -> str:
    return answers.encode(view_transaction(row, NOW_AT)).decode()


def test_an_unfinished_transaction_is_spelled_with_the_fields_of_dtm() -> None:
    assert spelled(ROW) == (
        '{"id":7,"create_time":"2023-11-14T22:13:20.5Z","update_time":"2023-11-14T22:13:21Z","gid":"g\\u00261",'
        '"trans_type":"saga","status":"submitted","protocol":"http","options":"{\\"concurrent\\":false}",'
        '"next_cron_interval":10,"next_cron_time":"2023-11-14T22:13:31Z","concurrent":false}'
    )


def test_a_succeeded_transaction_has_a_finish_time_and_no_other() -> None:
    view = view_transaction(row_with(status="succeed", finished_at=1_700_000_002.0), NOW_AT)
    assert (view.finish_time, view.rollback_time) == ("2023-11-14T22:13:22Z", "")


def test_a_failed_transaction_has_a_rollback_time_and_its_reason() -> None:
    view = view_transaction(row_with(status="failed", finished_at=1_700_000_002.0, reason="no money"), NOW_AT)
    assert (view.finish_time, view.rollback_time, view.rollback_reason) == ("", "2023-11-14T22:13:22Z", "no money")


@pytest.mark.parametrize(("fault_count", "interval"), [(0, 10), (1, 20), (2, 40), (3, 80), (50, 3600)])
def test_the_interval_doubles_with_each_fault(fault_count: int, interval: int) -> None:
    row = row_with(attempt_count=fault_count, wake_at=1_700_000_001.0 + interval)
    view = view_transaction(row, NOW_AT)
    assert view.next_cron_interval == interval
    assert view.next_cron_time == spell_time(1_700_000_001.0 + interval)


def test_a_final_transaction_is_due_for_nothing() -> None:
    view = view_transaction(row_with(status="succeed", finished_at=1_700_000_001.0), NOW_AT)
    assert view.next_cron_time == spell_time(NOW_AT)


def test_what_a_clients_workflow_ended_with_is_shown() -> None:
    done = row_with(pattern="workflow", workflow="dtm.workflow", status="succeed", result=b'"cmVz"')
    assert view_transaction(done, NOW_AT).result == "cmVz"
    assert view_transaction(row_with(status="succeed", result=b'"x"'), NOW_AT).result == ""


def test_a_transaction_of_the_library_shows_what_it_has() -> None:
    view = view_transaction(row_with(pattern="workflow", options=b"{}"), NOW_AT)
    assert (view.trans_type, view.protocol, view.next_cron_interval) == ("workflow", "", 0)
    assert view.options == '{"concurrent":false}'


def test_options_stand_in_gos_order_with_their_headers_sorted() -> None:
    options = StoredOptions(
        interval=1,
        wait_result=True,
        request_timeout=2,
        retry_interval=1,
        branch_headers={"b": "<", "a": "1"},
        retry_limit=4,
    )
    assert options.text == (
        '{"wait_result":true,"request_timeout":2,"retry_interval":1,"branch_headers":{"a":"1","b":"\\u003c"},'
        '"concurrent":false,"retry_limit":4}'
    )
