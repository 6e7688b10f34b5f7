"""``flowtx decide``, with ``list`` and ``show`` around it, as a person uses them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from click.testing import Result

import flowtx
from flowtx.cli.loading import load_workflow

Call = Callable[..., Result]

CHEQUES = '''
"""A workflow with a step that must not happen twice."""

import flowtx


def print_cheque(payee: str) -> int:
    raise OSError("the printer does not answer")


@flowtx.workflow
async def pay(tx: flowtx.Tx, payee: str) -> int:
    return await tx.step(print_cheque, payee, effect=flowtx.once)
'''


@pytest.fixture
def doubting(call: Call, folder: Path) -> Call:
    """``flowtx``, with one transaction in doubt and one that has ended."""
    (folder / "cli_cheques.py").write_text(CHEQUES)

    async def begin() -> None:
        async with flowtx.open("sqlite:///flowtx.db") as engine:
            await engine.start(load_workflow("cli_cheques:pay"), "ann", gid="c-1")
            await engine.rest("c-1", timeout_s=20)

    trio.run(begin)
    assert call("run", "cli_bank:nothing", "--gid", "n-1").exit_code == 0
    return call


def test_what_needs_a_decision_is_listed_and_shown(doubting: Call) -> None:
    listed = doubting("list", "--needs-decision").stdout
    assert "c-1" in listed
    assert "needs decision" in listed
    assert "n-1" not in listed
    shown = doubting("show", "c-1").stdout
    assert "a person's decision: flowtx decide" in shown
    assert "needs a decision: print_cheque at 0: OSError: the printer does not answer" in shown
    assert "in doubt: a person must decide" in shown
    assert [one["needs_decision"] for one in json.loads(doubting("list", "--json").stdout)] == [False, True]


def test_a_step_that_succeeded_goes_on_with_its_value(doubting: Call) -> None:
    decided = doubting("decide", "c-1", "0", "succeeded", "--value", "4711", "--app", "cli_cheques")
    assert (decided.exit_code, decided.stdout) == (0, "c-1 goes on: the step at 0 counts as succeeded\n")
    run = doubting("run", "cli_cheques:pay", "--gid", "c-1", "--input", '"ann"')
    assert (run.exit_code, run.stdout) == (0, "4711\n")
    assert "decided: succeeded" in doubting("show", "c-1").stdout


def test_a_step_that_was_refused_fails_for_the_reason_given(doubting: Call) -> None:
    decided = doubting("decide", "c-1", "0", "refused", "--reason", "no paper", "--json")
    told = json.loads(decided.stdout)
    assert (told["address"], told["verdict"], told["transaction"]["gid"]) == ("0", "refused", "c-1")
    run = doubting("run", "cli_cheques:pay", "--gid", "c-1", "--input", '"ann"')
    assert run.exit_code == 1
    assert "no paper" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("c-1", "1", "retry"), 1, "no step is in doubt at '1'; doubts were noted at 0"),
        (("n-1", "0", "retry"), 1, "transaction n-1 has ended: succeed"),
        (("x-1", "0", "retry"), 1, "no transaction has the gid x-1"),
        (("c-1", "0", "retry", "--value", "1"), 1, "a step that is decided as 'retry' has no result"),
        (("c-1", "0", "succeeded", "--value", "{"), 2, "--value is not JSON"),
        (("c-1", "0", "succeeded", "--value", '"x"', "--app", "cli_cheques"), 1, "does not fit int"),
        (("c-1", "0", "happened"), 2, "'happened' is not one of"),
    ],
)
def test_what_cannot_be_decided_is_told_and_changes_nothing(
    doubting: Call, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    before = doubting("show", "c-1", "--json").stdout
    decided = doubting("decide", *arguments)
    assert (decided.exit_code, decided.stdout) == (code, "")
    assert complaint in decided.stderr
    after = json.loads(doubting("show", "c-1", "--json").stdout)
    assert after["events"] == json.loads(before)["events"]
