"""Linting: the findings of files, in the order of their lines.

The law of this file: it is pure and total. Whatever texts come in, findings come out: for what is not Python it is one
that says so. Equal texts give equal findings.
"""

from __future__ import annotations

import ast
import codecs
import io
import tokenize
import warnings
from collections.abc import Callable, Iterator, Mapping

from flowtx_dsl.lint.bindings import Function
from flowtx_dsl.lint.checks.awaits import check_foreign_awaits, check_forgotten_awaits, check_steps_called
from flowtx_dsl.lint.checks.endings import check_cleanup, check_swallowed
from flowtx_dsl.lint.checks.made import check_made
from flowtx_dsl.lint.checks.names import check_names
from flowtx_dsl.lint.checks.order import check_order
from flowtx_dsl.lint.checks.outside import check_outside, check_tx_in_steps
from flowtx_dsl.lint.checks.signatures import check_defaults, check_step_signature, check_workflow_signature
from flowtx_dsl.lint.checks.steps import check_steps_asked
from flowtx_dsl.lint.findings import Finding
from flowtx_dsl.lint.project import follow
from flowtx_dsl.lint.rules import UNREADABLE
from flowtx_dsl.lint.silencing import silenced_in
from flowtx_dsl.lint.source import Findings, Source, lines_of

Check = Callable[[Source, Function], Findings]

OF_WORKFLOW_CODE: tuple[Check, ...] = (
    check_names,
    check_made,
    check_order,
    check_foreign_awaits,
    check_forgotten_awaits,
    check_steps_called,
    check_swallowed,
    check_cleanup,
    check_outside,
    check_tx_in_steps,
    check_workflow_signature,
    check_defaults,
    check_steps_asked,
)
"""What workflows and their helpers must keep."""

OF_STEPS: tuple[Check, ...] = (check_step_signature, check_defaults)
"""What steps must keep."""


def lint(source: str | bytes, path: str = "<source>") -> tuple[Finding, ...]:
    """The findings of one file, in the order of its lines, without those that a ``noqa`` comment silences."""
    return lint_together({path: source})[path]


def lint_together(files: Mapping[str, str | bytes]) -> dict[str, tuple[Finding, ...]]:
    """The findings of each of several files, by path; what one calls in another is looked at as its own."""
    findings: dict[str, tuple[Finding, ...]] = {}
    texts: dict[str, str] = {}
    sources: dict[str, Source] = {}
    for path, source in files.items():
        try:
            texts[path] = source if isinstance(source, str) else _decode(source)
            sources[path] = Source.of(_parse(texts[path], path), lines_of(texts[path]), path)
        except (SyntaxError, ValueError, RecursionError, MemoryError, LookupError) as error:
            findings[path] = (_unreadable(error, path),)
    for path, one in follow(sources).items():
        silenced = silenced_in(texts[path])
        findings[path] = tuple(it for it in sorted(set(_findings(one))) if not silenced.covers(it))
    return {path: findings[path] for path in files}


def lint_tree(tree: ast.Module, lines: tuple[str, ...], path: str) -> tuple[Finding, ...]:
    """The findings of a tree that is parsed already; ``noqa`` is left to the caller."""
    return tuple(sorted(set(_findings(Source.of(tree, lines, path)))))


def _findings(source: Source) -> Iterator[Finding]:
    for function in source.reach.workflow_code:
        for check in OF_WORKFLOW_CODE:
            yield from check(source, function)
    for function in source.reach.steps:
        if function not in source.reach.workflow_code:
            for check in OF_STEPS:
                yield from check(source, function)


def _decode(source: bytes) -> str:
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    return source.removeprefix(codecs.BOM_UTF8).decode(encoding.removesuffix("-sig"))


def _parse(text: str, path: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Python thinks of old escapes is not our concern
        return ast.parse(text, path)


def _unreadable(error: Exception, path: str) -> Finding:
    line = (error.lineno if isinstance(error, SyntaxError) else None) or 1
    column = max((error.offset if isinstance(error, SyntaxError) else None) or 1, 1)
    reason = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
    return Finding(
        path=path,
        line=max(line, 1),
        column=column,
        end_column=column + 1,
        code=UNREADABLE.code,
        message=f"the file cannot be read as Python: {reason}",
        remedy=UNREADABLE.remedy,
    )
