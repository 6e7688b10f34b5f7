"""What the house tests look at: the files of the repository, read once."""

import ast
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("flowtx", "engine/flowtx_engine", "dsl/flowtx_dsl")
# Made by tools, never committed.
NOT_OURS = {
    ".git",
    ".hypothesis",
    ".import_linter_cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
    "build",
    "dist",
}


def walk() -> Iterator[Path]:
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = sorted(name for name in subfolders if name not in NOT_OURS)
        # In a linked worktree .git is a file.
        yield from (Path(folder, name) for name in sorted(names) if name not in NOT_OURS)


@pytest.fixture(scope="session")
def root() -> Path:
    """The top folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def texts() -> Mapping[str, str]:
    """Every text file of the repository: its path from the top, and what it says."""
    found: dict[str, str] = {}
    for path in walk():
        try:
            found[path.relative_to(ROOT).as_posix()] = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # an image or a database
    return found


@pytest.fixture(scope="session")
def package_trees(texts: Mapping[str, str]) -> Mapping[str, ast.Module]:
    """Every Python file of the three packages: its path from the top, and its syntax tree."""
    trees = {
        path: ast.parse(text, path)
        for path, text in texts.items()
        if path.endswith(".py") and path.startswith(tuple(f"{package}/" for package in PACKAGES))
    }
    assert len(trees) > 10, f"expected the packages {PACKAGES} under {ROOT}, found only {sorted(trees)}"
    return trees


@pytest.fixture(scope="session")
def docs(texts: Mapping[str, str]) -> Mapping[str, str]:
    """Every page a user reads: its path from the top, and its text."""
    pages = {
        path: text
        for path, text in texts.items()
        if path.endswith(".md") and (path.startswith("docs/") or path in ("README.md", "CHANGELOG.md"))
    }
    assert len(pages) > 5, sorted(pages)
    return pages
