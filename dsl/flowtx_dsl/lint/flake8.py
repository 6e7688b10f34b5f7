"""The linter as a plugin of flake8, which shows its findings beside its own and looks after ``noqa`` itself.

The law of this file: nothing of flake8 is imported; a plugin is a class that is made with a tree and can ``run``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from flowtx_dsl.lint.lint import lint_tree


class Plugin:
    """One file under flake8; the entry point ``FTX`` in ``flake8.extension``."""

    name = "flowtx"
    version = "1"

    def __init__(self, tree: ast.Module, filename: str = "<source>", lines: Sequence[str] = ()) -> None:
        self._tree = tree
        self._filename = filename
        self._lines = tuple(line.rstrip("\r\n") for line in lines)

    def run(self) -> Iterator[tuple[int, int, str, type[Plugin]]]:
        """Line from 1, column from 0, code and message, and this class: what flake8 asks for."""
        for it in lint_tree(self._tree, self._lines, self._filename):
            yield it.line, it.column - 1, f"{it.code} {it.sentence}", type(self)
