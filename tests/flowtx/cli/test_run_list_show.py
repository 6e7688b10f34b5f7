"""``flowtx run``, ``list`` and ``show``, one after another on one database, as a person uses them."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Call = Callable[..., Result]

PAY_BOB = '{"payer": "alice", "payee": "bob"}'
PAY_NOBODY = '{"payer": "alice", "payee": "nobody", "cents": 100}'


def test_a_run_prints_its_result_as_json_and_nothing_else(call: Call) -> None:
    result = call("run", "cli_bank:transfer", "--gid", "t-1", "--input", PAY_BOB)
    assert (result.exit_code, result.stdout, result.stderr) == (0, '"alice paid bob 100"\n', "")


def test_the_same_gid_and_input_answer_the_same_and_another_input_is_refused(call: Call) -> None:
    for _ in range(2):
        result = call("run", "cli_bank:transfer", "--gid", "t-1", "--input", PAY_BOB)
        assert result.stdout == '"alice paid bob 100"\n'
    history = json.loads(call("show", "t-1", "--json").stdout)["events"]
    assert [event["fact"]["kind"] for event in history] == ["began", "succeeded", "succeeded", "ended"]
    other = call("run", "cli_bank:transfer", "--gid", "t-1", "--input", PAY_NOBODY)
    assert other.exit_code == 1
    assert "gid t-1 was begun with another input" in other.stderr


def test_a_run_that_fails_says_why_and_ends_with_1(call: Call) -> None:
    result = call("run", "cli_bank:transfer", "--gid", "t-2", "--input", PAY_NOBODY)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "flowtx: transaction t-2 failed: there is no account [nobody]\n  -> See its journal: flowtx show t-2\n"
    )
    debug = call("--debug", "run", "cli_bank:transfer", "--gid", "t-2", "--input", PAY_NOBODY)
    assert "cli_bank.py" in debug.stderr


def test_a_run_tells_programs_what_became_of_it(call: Call) -> None:
    done = call("run", "cli_bank:transfer", "--gid", "t-1", "--input", PAY_BOB, "--json")
    assert json.loads(done.stdout) == {
        "gid": "t-1", "status": "succeed", "reason": "", "result": "alice paid bob 100",
    }  # fmt: skip
    failed = call("run", "cli_bank:transfer", "--gid", "t-2", "--input", PAY_NOBODY, "--json")
    assert failed.exit_code == 1
    assert json.loads(failed.stdout) == {
        "gid": "t-2", "status": "failed", "reason": "there is no account [nobody]", "result": None,
    }  # fmt: skip


def test_a_gid_is_made_and_told_when_none_is_given(call: Call) -> None:
    result = call("run", "cli_bank:nothing")
    assert result.stdout == "null\n"
    gid = result.stderr.removeprefix("flowtx: the gid is ").strip()
    assert call("show", gid).exit_code == 0


def test_input_comes_from_a_file_or_stdin_too(call: Call, folder: Path) -> None:
    (folder / "transfer.json").write_text(PAY_BOB)
    from_file = call("run", "cli_bank:transfer", "--gid", "t-1", "--input", "@transfer.json")
    from_stdin = call("run", "cli_bank:transfer", "--gid", "t-2", "--input", "-", stdin=PAY_BOB)
    assert from_file.stdout == from_stdin.stdout == '"alice paid bob 100"\n'


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nowhere:transfer",), "flowtx: there is no module nowhere"),
        (("cli_bank:transfer", "--input", "{"), "flowtx: --input is not JSON"),
        (("cli_bank:transfer", "--input", '{"payer": 1, "payee": "bob"}'), "Expected `str`, got `int` - at `$.payer`"),
    ],
)
def test_a_wrong_call_ends_with_2_and_makes_no_database(
    call: Call, folder: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    result = call("run", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint in result.stderr
    assert not list(folder.glob("*.db"))


def test_a_fault_is_told_while_the_step_is_tried_again(call: Call, folder: Path) -> None:
    mend = threading.Timer(2.0, (folder / "mended").touch)
    mend.start()
    result = call("run", "cli_bank:transfer", "--gid", "t-1", "--input", '{"payer": "alice", "payee": "bug"}')
    mend.join()
    assert (result.exit_code, result.stdout) == (0, '"alice paid bug 100"\n')
    assert "RuntimeError: the bank is on fire" in result.stderr


def test_show_draws_the_journal_with_the_compensation_marked(call: Call) -> None:
    call("run", "cli_bank:transfer", "--gid", "t-2", "--input", PAY_NOBODY)
    shown = call("show", "t-2")
    assert shown.exit_code == 0
    rows = [line.split(maxsplit=1)[1] for line in shown.stdout.splitlines() if line[1:3].isdigit()]
    assert [" ".join(row.split()) for row in rows] == [
        "transfer version 1 began",
        '0 action withdraw("alice", 100) succeeded -> 100',
        '1 action deposit("nobody", 100) refused there is no account [nobody]',
        '0 <- compensate withdraw_back("alice", 100) succeeded',
        "end failed",
    ]
    head = [" ".join(line.split()) for line in shown.stdout.splitlines()[:5]]
    assert head == [
        "transaction t-2",
        "workflow transfer version 1",
        'input {"payer":"alice","payee":"nobody","cents":100}',
        "status failed",
        "reason there is no account [nobody]",
    ]


def test_show_tells_programs_everything(call: Call) -> None:
    call("run", "cli_bank:several", "--gid", "t-3", "--input", '["x"]')
    found = json.loads(call("show", "t-3", "--json").stdout)
    assert found["transaction"]["gid"] == "t-3"
    assert found["transaction"]["status"] == "succeed"
    assert (found["input"], found["result"]) == (["x"], ["x", 3, None])
    assert [event["seq"] for event in found["events"]] == [0, 1]


def test_list_shows_the_newest_first_and_can_be_narrowed(call: Call) -> None:
    for gid, order in {"t-1": PAY_BOB, "t-2": PAY_NOBODY, "t-3": PAY_BOB}.items():
        call("run", "cli_bank:transfer", "--gid", gid, "--input", order)
    call("run", "cli_bank:nothing", "--gid", "n-1")

    def gids(*arguments: str) -> list[str]:
        return [row["gid"] for row in json.loads(call("list", "--json", *arguments).stdout)]

    assert gids() == ["n-1", "t-3", "t-2", "t-1"]
    assert gids("--status", "failed") == ["t-2"]
    assert gids("--workflow", "nothing") == ["n-1"]
    assert gids("--limit", "2") == ["n-1", "t-3"]
    assert gids("--unfinished") == []
    table = call("list", "--limit", "3").stdout.splitlines()
    assert [line.split()[0] for line in table if line and "─" not in line] == ["gid", "n-1", "t-3", "t-2", "There"]
    assert call("list", "--unfinished").stdout == "No such transactions.\n"


def test_looking_makes_no_database(call: Call, folder: Path) -> None:
    for command in (["list"], ["show", "t-1"]):
        result = call(*command)
        assert result.exit_code == 3
        assert f"there is no database file {folder / 'flowtx.db'}" in result.stderr
    assert not list(folder.glob("*.db"))


def test_the_database_can_be_named_in_the_environment(call: Call, folder: Path) -> None:
    call("run", "cli_bank:nothing", "--gid", "n-1", FLOWTX_DB="sqlite:///other.db")
    assert (folder / "other.db").exists()
    assert call("show", "n-1", FLOWTX_DB="sqlite:///other.db").exit_code == 0
    assert call("show", "n-1").exit_code == 3


def test_a_file_that_is_no_journal_is_refused(call: Call, folder: Path) -> None:
    (folder / "flowtx.db").write_text("This is a letter to my grandmother, and no database at all." * 20)
    for command in (["list"], ["run", "cli_bank:nothing"]):
        result = call(*command)
        assert result.exit_code == 3, result.output
        assert result.stderr.startswith("flowtx: ") or "flowtx: the gid is" in result.stderr
