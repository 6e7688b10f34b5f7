"""The corpora of the linter: files in which nothing is wrong, and files in which every fault is marked."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MARK = re.compile(r"# expect: (FTX\d{3}(?:, FTX\d{3})*)")

Marked = list[tuple[int, str]]


def read_marks(text: str) -> Marked:
    """Line and code of every fault that a comment announces."""
    return [
        (number, code)
        for number, line in enumerate(text.splitlines(), 1)
        if (mark := MARK.search(line))
        for code in mark[1].split(", ")
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a good or a bad file runs for each."""
    for name in ("good", "bad"):
        if f"{name}_file" in metafunc.fixturenames:
            files = sorted((HERE / name).glob("*.py"))
            assert files, f"the corpus {name} is empty"
            metafunc.parametrize(f"{name}_file", files, ids=lambda file: file.stem)


@pytest.fixture(scope="session")
def marks() -> Callable[[str], Marked]:
    """Reads the marked faults of a text."""
    return read_marks
