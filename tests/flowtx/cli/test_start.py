"""``flowtx start`` and the times it takes: what is stored, and what is refused before anything is."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result

from flowtx.cli.failures import Misused
from flowtx.cli.times import instant_of, seconds_of

Call = Callable[..., Result]
INPUT = '{"payer": "ann", "payee": "bob"}'


def test_what_is_started_waits_for_a_node_and_is_run_by_the_next(call: Call, folder: Path) -> None:
    started = call("start", "cli_bank:transfer", "--gid", "t-1", "--input", INPUT, "--json")
    assert json.loads(started.stdout) == {"gid": "t-1", "status": "submitted", "starts_at": None, "is_new": True}
    (listed,) = json.loads(call("list", "--json").stdout)
    assert (listed["owner"], listed["status"]) == ("", "submitted")
    assert json.loads(call("run", "cli_bank:transfer", "--gid", "t-1", "--input", INPUT).stdout) == "ann paid bob 100"


def test_a_delay_is_kept_and_shown(call: Call, folder: Path) -> None:
    before_at = time.time()
    call("start", "cli_bank:transfer", "--gid", "t-1", "--input", INPUT, "--delay", "2h")
    (listed,) = json.loads(call("list", "--json").stdout)
    assert before_at + 7200 <= listed["wake_at"] <= time.time() + 7200
    shown = call("show", "t-1").stdout
    assert "waits until" in shown
    assert "begins later" in shown


def test_the_same_again_is_the_same_run_at_its_own_time(call: Call, folder: Path) -> None:
    call("start", "cli_bank:transfer", "--gid", "t-1", "--input", INPUT, "--at", "2036-01-01T12:00+00:00")
    again = call("start", "cli_bank:transfer", "--gid", "t-1", "--input", INPUT, "--at", "2037-01-01T12:00+00:00")
    assert "is there already: submitted" in again.stdout
    (listed,) = json.loads(call("list", "--json").stdout)
    assert listed["wake_at"] == datetime(2036, 1, 1, 12, tzinfo=UTC).timestamp()
    other = call("start", "cli_bank:transfer", "--gid", "t-1", "--input", INPUT.replace("bob", "eve"))
    assert (other.exit_code, "another input" in other.stderr) == (1, True)


def test_run_waits_for_its_time(call: Call, folder: Path) -> None:
    began_at = time.monotonic()
    assert call("run", "cli_bank:nothing", "--delay", "0.3s").exit_code == 0
    assert time.monotonic() - began_at >= 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--at", "soon"], "--at soon is no instant"),
        (["--delay", "soon"], "--delay soon is no length of time\n  -> Write 90s"),
        (["--at", "2036-01-01T12:00", "--delay", "3s"], "both given"),
        (["--db", "memory://"], "memory:// is gone with this command"),
        (["--gid", "x" * 200], "a gid has 1 to 128 characters, got 200"),
    ],
)
def test_what_cannot_be_started_is_refused_and_makes_no_database(
    call: Call, folder: Path, arguments: list[str], message: str
) -> None:
    result = call("start", "cli_bank:nothing", *arguments)
    assert result.exit_code != 0
    assert message in result.stderr
    assert not (folder / "flowtx.db").exists()


def test_lengths_have_units() -> None:
    assert [seconds_of(text) for text in ("90", "1.5s", "10min", "2h", "3 d")] == [90, 1.5, 600, 7200, 259_200]
    for text in ("", "h", "-3s", "3 weeks", "1e3"):
        with pytest.raises(Misused):
            seconds_of(text)


def test_an_instant_without_an_offset_is_of_this_machines_zone() -> None:
    assert instant_of("2036-01-01T12:00") == datetime(2036, 1, 1, 12).astimezone()
    assert instant_of("2036-01-01T12:00+02:00") == datetime(2036, 1, 1, 10, tzinfo=UTC)
