"""The head of ``flowtx show``: what a transaction waits for, in words, and nothing that has nothing to say."""

import msgspec
import pytest
from rich.console import Console

from flowtx.cli.show import header_of
from flowtx_engine.kernel.events import Began, CallRecord, Event, Succeeded
from tests.rows import SAGA_OF_TWO, transaction_row

NOW_AT = 1_000.0
TRANSACTION = transaction_row(input=b'["alice"]', created_at=NOW_AT - 250, updated_at=NOW_AT)


def head(events: tuple[Event, ...] = (), /, **changes: object) -> dict[str, str]:
    """The lines of the head by their names."""
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(header_of(msgspec.structs.replace(TRANSACTION, **changes), events, now_at=NOW_AT))
    return {line[:11].strip(): line[11:].strip() for line in captured.get().splitlines()}


@pytest.mark.parametrize(
    ("changes", "now"),
    [
        ({}, "waits for something from outside"),
        ({"owner": "node-1"}, "driven by node-1"),
        ({"owner": "node-1", "wake_at": NOW_AT - 1}, "driven by node-1"),
        ({"owner": "node-1", "wake_at": NOW_AT + 2}, "driven by node-1, next attempt in 2.000 s"),
        ({"wake_at": NOW_AT - 1}, "due, and nobody has taken it yet"),
    ],
)
def test_it_says_who_has_it_and_what_it_waits_for(changes: dict[str, object], now: str) -> None:
    assert head(**changes)["now"] == now


def test_it_says_until_when_it_waits() -> None:
    assert head(wake_at=NOW_AT + 7_500)["now"].endswith(", 2 h 5 min from now")
    assert head(wake_at=NOW_AT + 100_000)["now"].endswith(", 1 d 3 h from now")
    assert head()["began"].endswith(", 4 min 10 s ago")


def test_what_has_nothing_to_say_is_left_out() -> None:
    assert list(head()) == ["transaction", "workflow", "input", "status", "began", "now"]
    ended = head(status="succeed", result=b"7", finished_at=NOW_AT, wake_at=None)
    assert list(ended) == ["transaction", "workflow", "input", "status", "result", "began"]
    assert ended["began"].endswith(", took 4 min 10 s")
    failed = head(status="failed", result=b"{}", reason="no [funds]", finished_at=NOW_AT)
    assert (failed["reason"], "result" in failed) == ("no [funds]", False)


def test_faults_in_a_row_are_counted() -> None:
    assert head(last_error="refused connection", attempt_count=1)["last error"] == "refused connection"
    assert head(last_error="refused", attempt_count=3)["last error"] == "3 times in a row: refused"


def test_a_saga_under_way_says_which_branch_it_waits_for() -> None:
    saga = {"pattern": "saga", "workflow": "dtm.saga", "input": msgspec.json.encode([SAGA_OF_TWO])}
    began = Event(seq=0, at=NOW_AT, address="", fact=Began(workflow="dtm.saga"))
    call = CallRecord(
        name="http://p/do1", args=msgspec.Raw(msgspec.json.encode([SAGA_OF_TWO.steps[0].payload.decode()]))
    )
    first = Event(seq=1, at=NOW_AT, address="0", fact=Succeeded(call=call))
    assert head((began,), **saga)["waits for"] == "branch 01 action http://p/do1"
    assert head((began, first), **saga)["waits for"] == "branch 02 action http://p/do2"
    assert "waits for" not in head((began, first), **saga, status="failed", result=b"{}", finished_at=NOW_AT)
