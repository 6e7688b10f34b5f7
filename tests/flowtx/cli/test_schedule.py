"""``flowtx schedule``, and what ``list`` and ``show`` say of runs that wait for code or for a place."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from flowtx.testing.journal_writes import begin
from flowtx_engine.journal.records import NewPlace
from flowtx_engine.journal.sql import SqlStore, open_sqlite

Call = Callable[..., Result]
INPUT = '{"payer": "ann", "payee": "bob"}'


@pytest.fixture
def store(folder: Path) -> SqlStore:
    return open_sqlite(f"sqlite:///{folder / 'flowtx.db'}")


def add(call: Call, name: str, *more: str) -> Result:
    return call("schedule", "add", name, "cli_bank:transfer", "--cron", "0 3 * * *", "--input", INPUT, *more)


def test_a_schedule_is_added_listed_and_removed(call: Call) -> None:
    assert add(call, "nightly", "--timezone", "Europe/Berlin").stdout.startswith("nightly is next started ")
    (listed,) = json.loads(call("schedule", "list", "--json").stdout)
    assert (listed["name"], listed["cron"], listed["timezone"]) == ("nightly", "0 3 * * *", "Europe/Berlin")
    assert listed["input"] == [{"payer": "ann", "payee": "bob", "cents": 100}]
    assert (listed["catch_up"], listed["overlap"], listed["skipped_count"]) == ("latest", "allow", 0)
    assert listed["waits_for"] == "a node with transfer version 1"
    assert "0 3 * * * Europe/Berlin" in call("schedule", "list").stdout
    assert call("schedule", "remove", "nightly").stdout == "nightly is removed\n"
    assert call("schedule", "list").stdout == "No schedules.\n"
    again = call("schedule", "remove", "nightly")
    assert (again.exit_code, "there is no schedule nightly" in again.stderr) == (1, True)


def test_adding_again_changes_it_and_keeps_its_next_tick(call: Call) -> None:
    add(call, "s")
    (before,) = json.loads(call("schedule", "list", "--json").stdout)
    add(call, "s", "--overlap", "skip", "--catch-up", "all")
    (after,) = json.loads(call("schedule", "list", "--json").stdout)
    assert (after["overlap"], after["catch_up"], after["next_at"]) == ("skip", "all", before["next_at"])


def test_what_is_no_schedule_is_refused_and_makes_no_database(call: Call, folder: Path) -> None:
    wrong = call("schedule", "add", "s", "cli_bank:nothing", "--cron", "soon")
    assert (wrong.exit_code, "'soon' cannot be used" in wrong.stderr) == (1, True)
    wrong = call("schedule", "add", "s", "cli_bank:transfer", "--cron", "* * * * *")
    assert "needs its input" in wrong.stderr
    assert call("schedule", "remove", "s").exit_code == 3
    assert not (folder / "flowtx.db").exists()


def test_runs_that_wait_for_code_or_a_place_say_so(call: Call, store: SqlStore) -> None:
    with closing(store):
        store.beat("n", 0.0, 1e12)
        store.declare("n", [("loaded", "2")])
        store.commit(
            [
                begin("goes on", workflow=("loaded", "2")),
                begin("old", workflow=("loaded", "1")),
                begin("queued", workflow=("loaded", "2"), place=NewPlace(key="ann", due_at=0.0)),
                begin("over", workflow=("gone", "1"), status="succeed"),
            ]
        )
    listed = {row["gid"]: row["waits_for"] for row in json.loads(call("list", "--json").stdout)}
    assert listed == {
        "goes on": "",
        "old": "a node with loaded version 1",
        "queued": "a free place under 'ann'",
        "over": "",
    }
    waiting = call("list", "--waiting").stdout
    assert "waits for a node with loaded version 1" in waiting
    assert "goes on" not in waiting
    assert [row["gid"] for row in json.loads(call("list", "--waiting", "--json", "--limit", "1").stdout)] == ["queued"]


def test_show_says_what_keeps_a_run_from_going_on(call: Call) -> None:
    call("start", "cli_bank:transfer", "--gid", "t-1", "--input", INPUT)
    assert "waits for    a node with transfer version 1" in call("show", "t-1").stdout
    assert json.loads(call("show", "t-1", "--json").stdout)["transaction"]["waits_for"].startswith("a node with")
    call("run", "cli_bank:transfer", "--gid", "t-1", "--input", INPUT)
    assert "waits for" not in call("show", "t-1").stdout
