"""A wrong argument is a type error, under mypy and under pyright, at the line where it stands; a right one is none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
Lines = dict[str, set[int]]
"""The lines that a checker refuses, by the file's name."""
PATHS = os.pathsep.join(str(ROOT / folder) for folder in (".", "dsl", "engine"))


def run(*command: str) -> str:
    environment = os.environ | {"PYTHONPATH": PATHS, "MYPYPATH": PATHS}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr  # more than 1: the checker itself failed
    return done.stdout


def lines_for_mypy(files: Sequence[Path]) -> Lines:
    said = run("mypy", "--no-pretty", "--no-color-output", *map(str, files))
    return {
        file.name: {int(found[1]) for found in re.finditer(rf"{re.escape(file.name)}:(\d+): error: ", said)}
        for file in files
    }


def lines_for_pyright(files: Sequence[Path]) -> Lines:
    said = json.loads(run("pyright", "--pythonpath", sys.executable, "--outputjson", *map(str, files)))
    assert said["summary"]["filesAnalyzed"] == len(files), said
    lines: Lines = {file.name: set() for file in files}
    for found in said["generalDiagnostics"]:
        lines[Path(found["file"]).name].add(found["range"]["start"]["line"] + 1)
    return lines


CHECKERS = [lines_for_mypy, lines_for_pyright]


@pytest.mark.parametrize("lines_refused_by", CHECKERS)
def test_right_calls_are_accepted_with_their_types(lines_refused_by: Callable[[Sequence[Path]], Lines]) -> None:
    files = sorted(HERE.glob("right_*.py"))
    assert lines_refused_by(files) == {file.name: set() for file in files}


@pytest.mark.parametrize("lines_refused_by", CHECKERS)
def test_wrong_calls_are_refused_line_by_line(
    lines_refused_by: Callable[[Sequence[Path]], Lines], tmp_path: Path
) -> None:
    wrong: Lines = {}
    for source in sorted(HERE.glob("wrong_*.py.txt")):
        text = source.read_text()
        tmp_path.joinpath(source.stem).write_text(text)
        wrong[source.stem] = {number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# wrong")}
        assert wrong[source.stem], f"{source} has no line that is marked"
    assert lines_refused_by([tmp_path / name for name in wrong]) == wrong
