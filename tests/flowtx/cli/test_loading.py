"""Finding workflows by name, and saying clearly why there is none."""

from pathlib import Path

import pytest

from flowtx.cli.failures import Misused
from flowtx.cli.loading import load_app, load_workflow


def test_a_workflow_of_the_current_folder_is_found(folder: Path) -> None:
    assert load_workflow("cli_bank:transfer").name == "transfer"


def test_an_app_is_a_module_a_workflow_or_a_list(folder: Path) -> None:
    assert [workflow.name for workflow in load_app("cli_bank")] == ["transfer", "several", "nothing", "slow"]
    assert [workflow.name for workflow in load_app("cli_bank:transfer")] == ["transfer"]
    assert [workflow.name for workflow in load_app("cli_bank:both")] == ["transfer", "nothing"]


@pytest.mark.parametrize(
    ("spec", "found", "remedy"),
    [
        ("nowhere:transfer", "there is no module nowhere in ", "Run the command in the folder that holds it"),
        ("cli_bank", "names no workflow; the workflows of cli_bank are: transfer, several,", "Write module:workflow"),
        ("cli_bank:", "'cli_bank:' names no workflow", "Write module:workflow"),
        (":transfer", "':transfer' names no workflow", "Write module:workflow"),
        ("cli_bank.py:transfer", "there is no module cli_bank.py", "Write it as a module: cli_bank."),
        ("./cli_bank.py:transfer", "./cli_bank.py is no name of a module", "Write it as a module: cli_bank."),
        ("deep/er.py:transfer", "deep/er.py is no name of a module", "Write it as a module: deep.er."),
        ("cli_bank:transfr", "the module cli_bank has no transfr", "Did you mean cli_bank:transfer?"),
        ("cli_bank:deposit", "cli_bank:deposit is a function, not a workflow", "Declare it with @flowtx.workflow"),
        ("cli_bank:number", "cli_bank:number is a int, not a workflow", "Declare it with @flowtx.workflow"),
    ],
)
def test_what_was_mistyped_is_answered_with_what_is_there(folder: Path, spec: str, found: str, remedy: str) -> None:
    with pytest.raises(Misused) as caught:
        load_workflow(spec)
    message, _, advice = caught.value.message.partition("\n  -> ")
    assert found in message
    assert remedy in advice
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("source", "problem", "line"),
    [
        ("import cli_not_there\n", "ModuleNotFoundError: No module named 'cli_not_there'", 1),
        ("x = 1\ny = x / 0\n", "ZeroDivisionError: division by zero", 2),
        ("x = (\n", "SyntaxError: '(' was never closed", 1),
    ],
)
def test_a_module_that_cannot_be_imported_says_why_and_where(
    folder: Path, source: str, problem: str, line: int
) -> None:
    (folder / "cli_broken.py").write_text(source)
    with pytest.raises(Misused) as caught:
        load_workflow("cli_broken:transfer")
    assert caught.value.message == (
        f"the module cli_broken cannot be imported: {problem} ({folder / 'cli_broken.py'}:{line})"
    )


def test_an_app_without_workflows_is_refused(folder: Path) -> None:
    (folder / "cli_empty.py").write_text("number = 7\nmixed = [number]\n")
    with pytest.raises(Misused, match="the module cli_empty has no workflows"):
        load_app("cli_empty")
    with pytest.raises(Misused, match=r"cli_empty:mixed\[0\] is a int, not a workflow"):
        load_app("cli_empty:mixed")
