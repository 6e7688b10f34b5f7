"""The barrier's rules, one by one, on every database and by every synchronous way to it."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, create_engine

from flowtx.client.barrier import Barrier, Ran, Skipped, Why
from flowtx.client.errors import BarrierError, Duplicated
from flowtx_dsl.errors import Refused
from tests.flowtx.client.conftest import AnyConnection, Bank, Way

QUERY = {"gid": "g", "branch_id": "01", "op": "action", "trans_type": "saga"}


def once(bank: Bank, way: Way, op: str, *, trans_type: str = "saga") -> Ran[str] | Skipped:
    """One call of a participant, whose business notes its op."""
    with bank.open(way) as connection:
        return bank.barrier(op, trans_type=trans_type).call(connection, lambda same: bank.note(same, op))


def breaking(bank: Bank, error: BaseException) -> Callable[[AnyConnection], None]:
    def business(connection: AnyConnection) -> None:
        bank.note(connection, "half")
        raise error

    return business


def test_business_runs_and_its_value_comes_back(bank: Bank, way: Way) -> None:
    assert once(bank, way, "action") == Ran("action")
    assert bank.notes() == ["action"]
    assert bank.rows() == [("01", "action", "01", "action")]


# check 213
def test_a_repeated_op_runs_business_once(bank: Bank, way: Way) -> None:
    once(bank, way, "action")
    assert once(bank, way, "action") == Skipped(Why.REPEATED_OR_LATE)
    assert bank.notes() == ["action"]


# check 113
@pytest.mark.parametrize(("forward", "back"), [("action", "compensate"), ("try", "cancel"), ("action", "rollback")])
def test_what_was_done_is_taken_back_once(bank: Bank, way: Way, forward: str, back: str) -> None:
    once(bank, way, forward)
    assert once(bank, way, back) == Ran(back)
    assert once(bank, way, back) == Skipped(Why.REPEATED_OR_LATE)
    assert bank.notes() == [forward, back]


# check 212
@pytest.mark.parametrize(("forward", "back"), [("action", "compensate"), ("try", "cancel"), ("action", "rollback")])
def test_what_was_never_done_is_not_taken_back_and_comes_too_late(
    bank: Bank, way: Way, forward: str, back: str
) -> None:
    assert once(bank, way, back) == Skipped(Why.NOTHING_TO_TAKE_BACK)
    assert once(bank, way, forward) == Skipped(Why.REPEATED_OR_LATE)
    assert once(bank, way, back) == Skipped(Why.REPEATED_OR_LATE)
    assert bank.notes() == []
    assert bank.rows() == [("01", forward, "01", back), ("01", back, "01", back)]


def test_a_confirm_needs_no_try(bank: Bank, way: Way) -> None:
    assert once(bank, way, "confirm", trans_type="tcc") == Ran("confirm")


# checks 214, 215
@pytest.mark.parametrize("error", [ValueError("broken"), Refused("no"), KeyboardInterrupt()])
def test_failing_business_leaves_no_row_and_its_error_goes_on(bank: Bank, way: Way, error: BaseException) -> None:
    with bank.open(way) as connection:
        with pytest.raises(type(error)) as raised:
            bank.barrier("action").call(connection, breaking(bank, error))
        assert raised.value is error
        assert bank.rows() == []
        assert bank.notes() == []
        # The connection can be used on, and the repeat is a first call.
        assert bank.barrier("action").call(connection, lambda same: bank.note(same, "whole")) == Ran("whole")
    assert bank.notes() == ["whole"]


# check 114
def test_the_calls_of_one_request_are_numbered(bank: Bank, way: Way) -> None:
    for _ in range(2):
        barrier = bank.barrier("action")
        with bank.open(way) as connection:
            barrier.call(connection, lambda same: bank.note(same, "first"))
            barrier.call(connection, lambda same: bank.note(same, "second"))
    assert bank.notes() == ["first", "second"]
    assert [row[2] for row in bank.rows()] == ["01", "02"]


def test_a_repeated_message_is_a_duplicate(bank: Bank, way: Way) -> None:
    once(bank, way, "msg", trans_type="msg")
    with pytest.raises(Duplicated, match=bank.gid):
        once(bank, way, "msg", trans_type="msg")
    assert bank.notes() == ["msg"]


def prepared(bank: Bank, op: str = "msg") -> Barrier:
    return bank.barrier(op, branch_id="00", trans_type="msg")


def test_a_message_that_was_done_is_found_done(bank: Bank, way: Way) -> None:
    with bank.open(way) as connection:
        prepared(bank).call(connection, lambda same: bank.note(same, "done"))
        prepared(bank).query_prepared(connection)
        prepared(bank).query_prepared(connection)
    assert bank.rows() == [("00", "msg", "01", "msg")]


def test_a_message_that_was_asked_for_first_can_never_be_done(bank: Bank, way: Way) -> None:
    with bank.open(way) as connection:
        for _ in range(2):
            with pytest.raises(Refused, match=bank.gid):
                prepared(bank).query_prepared(connection)
        with pytest.raises(Duplicated):
            prepared(bank).call(connection, lambda same: bank.note(same, "late"))
    assert bank.notes() == []


def test_two_calls_at_once_run_business_once(bank: Bank, way: Way) -> None:
    inside = threading.Event()
    go_on = threading.Event()
    seconds: list[Ran[str] | Skipped] = []

    def slow(connection: AnyConnection) -> str:
        inside.set()
        assert go_on.wait(20)
        return bank.note(connection, "slow")

    def second() -> None:
        assert inside.wait(20)
        threading.Timer(0.1, go_on.set).start()  # while the second call waits for the first one's row
        seconds.append(once(bank, way, "action"))

    thread = threading.Thread(target=second)
    thread.start()
    with bank.open(way) as connection:
        bank.barrier("action").call(connection, slow)
    thread.join(20)
    assert seconds == [Skipped(Why.REPEATED_OR_LATE)]
    assert bank.notes() == ["slow"]


BRANCHES = ("01", "02", "03", "04")


def hurry(bank: Bank, way: Way, seed: int, errors: list[BaseException]) -> None:
    """Calls every op of every branch twice, in an order of its own; as a transaction manager, again after errors."""
    order = random.Random(seed)
    calls = [(branch_id, op) for branch_id in BRANCHES for op in ("action", "compensate")] * 2
    order.shuffle(calls)
    try:
        with bank.open(way) as connection:
            for branch_id, op in calls:
                for attempts_left in reversed(range(10)):
                    try:
                        bank.barrier(op, branch_id=branch_id).call(
                            connection, functools.partial(bank.note, what=f"{op} {branch_id}")
                        )
                        break
                    except Exception:  # two that wait for each other: the database lets one of them go
                        if not attempts_left:
                            raise
    except BaseException as error:
        errors.append(error)


# check 134
def test_many_at_once_leave_the_books_right(bank: Bank, way: Way) -> None:
    errors: list[BaseException] = []
    threads = [threading.Thread(target=hurry, args=(bank, way, seed, errors)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    notes = bank.notes()
    assert len(notes) == len(set(notes))
    for branch_id in BRANCHES:
        assert [note for note in notes if note.endswith(branch_id)] in (
            [],
            [f"action {branch_id}", f"compensate {branch_id}"],
        )
    assert len(bank.rows()) == 2 * len(BRANCHES)


def test_a_connection_with_work_on_it_is_refused_and_keeps_its_work(bank: Bank, way: Way) -> None:
    with bank.open(way) as connection:
        bank.note(connection, "mine")
        with pytest.raises(BarrierError, match="in a transaction already"):
            bank.barrier("action").call(connection, lambda same: bank.note(same, "action"))
        with pytest.raises(BarrierError, match="in a transaction already"):
            bank.barrier("action").query_prepared(connection)
        connection.commit()
    assert bank.notes() == ["mine"]


@pytest.mark.parametrize("word", ["commit", "rollback"])
def test_business_that_ends_the_transaction_is_found_out(bank: Bank, way: Way, word: str) -> None:
    def business(connection: AnyConnection) -> None:
        bank.note(connection, "early")
        getattr(connection, word)()

    with bank.open(way) as connection, pytest.raises(BarrierError, match="ended inside the barrier"):
        bank.barrier("action").call(connection, business)


def test_business_that_is_async_is_refused(bank: Bank, way: Way) -> None:
    async def business(connection: AnyConnection) -> None:
        raise AssertionError(connection)

    with bank.open(way) as connection, pytest.raises(BarrierError, match="call_async"):
        bank.barrier("action").call(connection, business)
    assert bank.rows() == []


def test_a_connection_that_commits_each_statement_is_refused(bank: Bank) -> None:
    engine = create_engine(bank.engine.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        with pytest.raises(BarrierError, match="autocommit"):
            bank.barrier("action").call(connection, lambda same: bank.note(same, "action"))
        assert not connection.in_transaction()
    with (
        bank.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        pytest.raises(BarrierError, match="autocommit"),
    ):
        bank.barrier("action").call(connection, lambda same: bank.note(same, "action"))
    engine.dispose()
    assert bank.notes() == []
    assert bank.rows() == []


def test_autocommit_is_seen_though_the_driver_cannot_say(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot_say(_: object) -> bool:
        raise NotImplementedError

    monkeypatch.setattr(bank.engine.dialect, "detect_autocommit_setting", cannot_say)
    with (
        bank.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        pytest.raises(BarrierError, match="autocommit"),
    ):
        bank.barrier("action").call(connection, lambda same: bank.note(same, "action"))
    with bank.engine.connect() as connection:
        assert bank.barrier("action").call(connection, lambda _: 1) == Ran(1)


def test_a_lost_connection_does_not_hide_the_error_of_business(bank: Bank) -> None:
    def business(connection: Connection) -> None:
        connection.connection.driver_connection.close()  # type: ignore[union-attr]  # it is open here
        raise ValueError("broken")

    connection = bank.engine.connect()
    with pytest.raises(ValueError, match="broken"):
        bank.barrier("action").call(connection, business)
    connection.invalidate()
    connection.close()
    assert bank.rows() == []


# check 216
@pytest.mark.parametrize("name", QUERY)
@pytest.mark.parametrize("change", ["missing", "empty", "only what is deleted", "overlong"])
def test_a_query_without_all_four_makes_no_barrier(name: str, change: str) -> None:
    query = dict(QUERY)
    del query[name]
    match change:
        case "empty":
            query[name] = ""
        case "only what is deleted":
            query[name] = ";\r\n"
        case "overlong":
            query[name] = "x" * 129
        case _:
            pass
    with pytest.raises(BarrierError, match=f"^{name} "):
        Barrier.from_query(query)


def test_a_query_of_lists_is_refused_with_the_mapping_that_works() -> None:
    lists: object = {name: [value] for name, value in QUERY.items()}
    with pytest.raises(BarrierError, match=r"gid in the query is a list.*\n.*parse_qsl"):
        Barrier.from_query(lists)  # type: ignore[arg-type]  # what parse_qs gives; tried on purpose


def test_what_servers_delete_from_gids_is_deleted() -> None:
    assert Barrier.from_query({**QUERY, "gid": "a;b\r\nc"}).gid == "abc"


def test_what_ran_is_true_and_what_was_skipped_is_false() -> None:
    assert Ran(None)
    assert not Skipped(Why.REPEATED_OR_LATE)


def test_what_is_no_connection_is_named() -> None:
    class Nothing:
        def cursor(self) -> object:
            return None

        def commit(self) -> None: ...

        def rollback(self) -> None: ...

    with pytest.raises(BarrierError, match=r"Nothing, expected a synchronous connection of psycopg, pymysql, sqlite3"):
        Barrier.from_query(QUERY).call(Nothing(), lambda _: None)
