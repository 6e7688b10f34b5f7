"""One file under the linter: its tree, scopes and reach, and how a finding in it is made.

The law of this file: positions are counted in characters, as people and editors do, not in the bytes of the tree.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from flowtx_dsl.lint.findings import Finding
from flowtx_dsl.lint.reach import Reach
from flowtx_dsl.lint.rules import Rule
from flowtx_dsl.lint.scopes import Scopes
from flowtx_dsl.lint.uses import Use

_LINE_END = re.compile(r"\r\n|\r|\n")
SPELLED_MAX = 60
"""Longer pieces of source are cut in messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A parsed file; ``lines`` are its lines without their ends."""

    path: str
    lines: tuple[str, ...]
    tree: ast.Module
    scopes: Scopes
    reach: Reach

    @classmethod
    def of(cls, tree: ast.Module, lines: tuple[str, ...], path: str) -> Source:
        """A file on its own."""
        scopes = Scopes(tree)
        return cls(path=path, lines=lines, tree=tree, scopes=scopes, reach=Reach(tree, scopes))

    def used_by(self, used: Iterable[Use]) -> Source:
        """The same file, of which other files use something."""
        return replace(self, reach=Reach(self.tree, self.scopes, used))

    def dotted(self, node: ast.expr) -> str | None:
        """The whole name of what an expression of this file stands for."""
        return self.scopes.dotted(node, self.scopes.of(node))

    def found(
        self, rule: Rule, node: ast.expr | ast.stmt | ast.arg | ast.excepthandler, what: str, *, write: str = ""
    ) -> Finding:
        """A finding at a node: what was found, and what to write instead of the rule's own remedy."""
        line = node.lineno
        column = self._column(line, node.col_offset)
        one_line = node.end_lineno == line and node.end_col_offset is not None
        end = self._column(line, node.end_col_offset or 0) if one_line else len(self.line(line)) + 1
        return Finding(
            path=self.path,
            line=line,
            column=column,
            end_column=max(end, column + 1),
            code=rule.code,
            message=f"{what}{self._where(node)}",
            remedy=write or rule.remedy,
        )

    def line(self, number: int) -> str:
        """A line of the file, counted from 1; empty behind the last."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def _column(self, line: int, byte: int) -> int:
        return len(self.line(line).encode(errors="surrogatepass")[:byte].decode(errors="ignore")) + 1

    def _where(self, node: ast.AST) -> str:
        """Names the helper that a finding stands in, and who calls it."""
        function = self.scopes.function_around(node)
        origin = None if function is None else self.reach.workflow_code.get(function)
        if function is None or origin is None or not origin.caller:
            return ""
        return f" (in {function.name}, called by {origin.caller})"


def lines_of(text: str) -> tuple[str, ...]:
    """The lines of a text as Python counts them: form feeds and the like end none."""
    return tuple(_LINE_END.split(text))


def spell(node: ast.AST) -> str:
    """A piece of source for a message, on one line and not too long."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= SPELLED_MAX else f"{text[: SPELLED_MAX - 3]}..."


def spell_call(call: ast.Call) -> str:
    """A call for a message: its name, and that it is called."""
    return f"{spell(call.func)}({'...' if call.args or call.keywords else ''})"


Findings = Iterator[Finding]
"""What a check gives."""
