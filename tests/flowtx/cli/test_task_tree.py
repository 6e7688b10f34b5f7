"""``flowtx show``: the tree of what a transaction waits for, with its code, without it, and with changed code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from click.testing import Result

import flowtx
from flowtx.cli.loading import load_workflow

Call = Callable[..., Result]

TRIP = '''
"""A workflow that waits in many ways."""

import flowtx


def book(place: str) -> str:
    if place == "train":
        raise RuntimeError("no train goes [there]")
    return place


async def hotel(tx: flowtx.Tx) -> None:
    await tx.step(book, "hotel")
    await tx.sleep(1000)


@flowtx.workflow
async def trip(tx: flowtx.Tx) -> None:
    await tx.step(book, "flight")
    async with tx.open_nursery() as nursery:
        nursery.start_soon(hotel, tx)
        nursery.start_step(book, "train", retry=flowtx.Retry(first_s=1000))
        await tx.signal("go")
'''


@pytest.fixture
def waiting(call: Call, folder: Path) -> Call:
    """``flowtx``, after a trip began and was left waiting."""
    (folder / "cli_trip.py").write_text(TRIP)

    async def begin() -> None:
        workflow = load_workflow("cli_trip:trip")
        async with flowtx.open("sqlite:///flowtx.db") as engine:
            await engine.start(workflow, gid="t-1")
            await engine.rest("t-1", timeout_s=20)

    trio.run(begin)
    return call


def line_of(text: str) -> str:
    (number,) = [i for i, line in enumerate(TRIP.splitlines(), 1) if text in line]
    return f"cli_trip.py:{number}"


def test_with_its_code_every_task_says_where_it_waits(waiting: Call) -> None:
    shown = waiting("show", "t-1", "--app", "cli_trip").stdout
    tree = [line for line in shown.splitlines() if "──" in line and "───" not in line]
    assert [line.lstrip("│ ├└─") for line in tree][:2] == [
        f"trip waits for signal go  {line_of('tx.signal')}",
        f"nursery 1  {line_of('open_nursery')}",
    ]
    assert "1/0 hotel waits for sleep until" in tree[2]
    assert line_of("tx.sleep") in tree[2]
    assert "waits for step book(place='train')" in tree[3]
    assert "1 attempt, RuntimeError: no train goes [there]; due in " in tree[3]


def test_without_its_code_the_journal_tells_what_was_tried(waiting: Call) -> None:
    for arguments in ((), ("--app", "cli_bank")):
        shown = waiting("show", "t-1", *arguments).stdout
        assert "waits, as far as the journal tells" in shown
        assert "1/1 waits for step book('train')" in shown
        assert "signal go" not in shown


def test_programs_get_the_tree_as_json(waiting: Call) -> None:
    tasks = json.loads(waiting("show", "t-1", "--json", FLOWTX_APP="cli_trip").stdout)["tasks"]
    assert tasks["phase"] == "running"
    assert tasks["tasks"][0]["waits_for"]["what"] == "signal go"
    assert [branch["address"] for branch in tasks["tasks"][0]["nurseries"][0]["branches"]] == ["1/0", "1/1"]


def test_code_that_left_the_history_is_told_and_nothing_is_hidden(waiting: Call, folder: Path) -> None:
    (folder / "cli_changed.py").write_text(TRIP.replace('"flight"', '"bus"'))
    shown = waiting("show", "t-1", "--app", "cli_changed")
    assert shown.exit_code == 0
    assert "left its history at 0" in shown.stdout
    assert "flight" in shown.stdout
    assert "waits, as far as the journal tells" in shown.stdout
    told = json.loads(waiting("show", "t-1", "--app", "cli_changed", "--json").stdout)
    assert "left its history at 0" in told["tasks_error"]
    assert told["tasks"]["phase"] == "unknown"


def test_a_finished_transaction_waits_for_nothing(waiting: Call) -> None:
    assert waiting("run", "cli_bank:nothing", "--gid", "n-1").exit_code == 0
    assert json.loads(waiting("show", "n-1", "--json").stdout)["tasks"] is None
    assert "waits" not in waiting("show", "n-1", "--app", "cli_bank").stdout
