"""A wrong argument is a type error, under mypy and under pyright, at the line where it stands; a right one is none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATHS = os.pathsep.join(str(ROOT / folder) for folder in (".", "dsl", "engine"))


def run(*command: str) -> str:
    environment = os.environ | {"PYTHONPATH": PATHS, "MYPYPATH": PATHS}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr  # more than 1: the checker itself failed
    return done.stdout


def lines_for_mypy(file: Path) -> set[int]:
    said = run("mypy", "--no-pretty", "--no-color-output", str(file))
    return {int(found[1]) for found in re.finditer(rf"{re.escape(file.name)}:(\d+): error: ", said)}


def lines_for_pyright(file: Path) -> set[int]:
    said = json.loads(run("pyright", "--pythonpath", sys.executable, "--outputjson", str(file)))
    assert said["summary"]["filesAnalyzed"] == 1, said
    return {found["range"]["start"]["line"] + 1 for found in said["generalDiagnostics"]}


CHECKERS = [lines_for_mypy, lines_for_pyright]


ABOUT = ["calls", "words", "shapes"]


@pytest.mark.parametrize("about", ABOUT)
@pytest.mark.parametrize("lines_refused_by", CHECKERS)
def test_right_calls_are_accepted_with_their_types(lines_refused_by: Callable[[Path], set[int]], about: str) -> None:
    assert lines_refused_by(HERE / f"right_{about}.py") == set()


@pytest.mark.parametrize("about", ABOUT)
@pytest.mark.parametrize("lines_refused_by", CHECKERS)
def test_wrong_calls_are_refused_line_by_line(
    lines_refused_by: Callable[[Path], set[int]], about: str, tmp_path: Path
) -> None:
    text = (HERE / f"wrong_{about}.py.txt").read_text()
    wrong = {number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# wrong")}
    file = tmp_path / f"wrong_{about}.py"
    file.write_text(text)
    assert lines_refused_by(file) == wrong
