"""Every file can be found, read in one go, and says what it is."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path

LINES_MAX = 500
# Longer files, each with the reason why it is one idea all the same.
LONG: dict[str, str] = {
    "tests/properties/test_kernel_against_trio.py": "one interpreter, its two worlds and the law, read side by side",
}

# Words that mean nothing to a reader of the repository: places on one machine, and how the work went.
# Taken apart, so that this file may name them.
FORBIDDEN = [
    "../" + "shared",
    "/work" + "/",
    "/scratch" + "/",
    "/root" + "/",
    "BRIEF" + ".md",
    "this ses" + "sion",
    "next ses" + "sion",
    "previous ses" + "sion",
    "earlier ses" + "sion",
]

# A comment that silences a tool, and what must follow: the code in brackets or after a colon, then a reason.
SILENCED = re.compile(r"#\s*(type: ignore|pyright: ignore|noqa)(?P<rest>.*)")
CODE_AND_REASON = re.compile(r"(\[[\w, -]+\]|: ?[A-Z]+\d+(, ?[A-Z]+\d+)*)\s*(#|-|–|\()\s*\w+")


def test_no_python_file_is_longer_than_it_needs(texts: Mapping[str, str]) -> None:
    long = {path: n for path, text in texts.items() if path.endswith(".py") and (n := text.count("\n")) > LINES_MAX}
    unexplained = {path: n for path, n in long.items() if path not in LONG}
    assert not unexplained, f"more than {LINES_MAX} lines; cut in two ideas, or give a reason in LONG: {unexplained}"
    assert LONG.keys() <= long.keys(), f"short again, take out of LONG: {LONG.keys() - long.keys()}"


def test_every_python_file_opens_with_a_docstring(texts: Mapping[str, str]) -> None:
    silent = [
        path for path, text in texts.items() if path.endswith(".py") and not ast.get_docstring(ast.parse(text, path))
    ]
    assert not silent, f"say at the top what the file is and its law: {silent}"


def test_every_package_folder_has_a_marker_and_no_test_folder_has_one(texts: Mapping[str, str]) -> None:
    folders = {path.rpartition("/")[0] for path in texts if path.endswith(".py")}
    packages = {folder for folder in folders if folder.startswith(("flowtx", "engine/flowtx_engine", "dsl/flowtx_dsl"))}
    markers = {path.removesuffix("/__init__.py") for path in texts if path.endswith("/__init__.py")}
    assert packages <= markers, f"lack an __init__.py: {packages - markers}"
    assert not any(folder.startswith("tests") for folder in markers), "tests are collected by path, not imported"


def test_every_package_is_marked_as_typed(root: Path) -> None:
    for package in ("flowtx", "engine/flowtx_engine", "dsl/flowtx_dsl"):
        assert (root / package / "py.typed").exists()


def test_no_file_speaks_of_how_it_was_made(texts: Mapping[str, str]) -> None:
    found = [f"{path}: {word}" for path, text in texts.items() for word in FORBIDDEN if word.lower() in text.lower()]
    assert not found, "\n".join(found)


def test_whoever_silences_a_tool_says_what_and_why(texts: Mapping[str, str]) -> None:
    unexplained = [
        f"{path}:{number}: {line.strip()}"
        for path, text in texts.items()
        if path.endswith(".py") and path != "tests/house/test_files.py"
        for number, line in enumerate(text.splitlines(), 1)
        if (silenced := SILENCED.search(line)) and not CODE_AND_REASON.match(silenced["rest"])
    ]
    assert not unexplained, "write `# type: ignore[code]  # reason` or `# noqa: CODE - reason`:\n" + "\n".join(
        unexplained
    )
