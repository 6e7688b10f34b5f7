"""Endings: cancellation and the end of a dropped run pass through a workflow, and clean-up does not wait.

Python throws ``GeneratorExit`` into a coroutine that is dropped, and the kernel throws ``Cancelled`` into one
that is cancelled; who catches everything catches these, too.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from flowtx_dsl.lint.bindings import Function
from flowtx_dsl.lint.rules import AWAIT_IN_CLEANUP, SWALLOWED
from flowtx_dsl.lint.source import Findings, Source, spell
from flowtx_dsl.lint.syntax import own_nodes
from flowtx_dsl.lint.words import ENDING, SWALLOWABLE

_WAITS = ast.Await | ast.AsyncFor | ast.AsyncWith


def check_swallowed(source: Source, function: Function) -> Findings:
    """Handlers and finally-blocks around awaits that keep cancellation from passing."""
    for node in own_nodes(function):
        match node:
            case ast.Try() | ast.TryStar():
                if _first_wait(node.body) is not None:
                    yield from _swallowing_handlers(source, node)
                    yield from _leaving_finally(source, node)
            case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
                if _first_wait(body) is not None:
                    yield from _suppressing(source, items)
            case _:
                pass


def check_cleanup(source: Source, function: Function) -> Findings:
    """Awaits in blocks that also run when the run is only dropped from memory."""
    for node in own_nodes(function):
        if not isinstance(node, ast.Try | ast.TryStar):
            continue
        blocks = [("a finally block", node.finalbody)]
        blocks += [
            (f"an {_shown(handler)} block", handler.body)
            for handler in node.handlers
            if handler.type is None or _caught(source, handler) & ENDING
        ]
        for where, block in blocks:
            waits = _first_wait(block)
            if waits is not None:
                what = f"{where} awaits, but it also runs when the run is dropped, where nothing is performed"
                yield source.found(AWAIT_IN_CLEANUP, waits, what)


def _swallowing_handlers(source: Source, node: ast.Try | ast.TryStar) -> Findings:
    passed_on: set[str] = set()
    for handler in node.handlers:
        caught = _caught(source, handler)
        if _passes_on(handler):
            passed_on |= caught
            continue
        last_words = {name.rpartition(".")[2] for name in passed_on}
        if "BaseException" in last_words or {"GeneratorExit", "Cancelled"} <= last_words:
            continue
        if handler.type is None or caught & SWALLOWABLE:
            what = f"{_shown(handler)} swallows cancellation and the end of a dropped run"
            yield source.found(SWALLOWED, handler, what)


def _leaving_finally(source: Source, node: ast.Try | ast.TryStar) -> Findings:
    for statement in node.finalbody:
        for inner in ast.walk(statement):
            if isinstance(inner, ast.Return):
                what = "return in finally swallows whatever passes, cancellation and the end of a dropped run too"
                yield source.found(SWALLOWED, inner, what, write="Return after the try statement.")


def _suppressing(source: Source, items: Sequence[ast.withitem]) -> Findings:
    for item in items:
        call = item.context_expr
        if not (isinstance(call, ast.Call) and source.dotted(call.func) == "contextlib.suppress"):
            continue
        if any(source.dotted(it) in SWALLOWABLE for it in call.args):
            what = f"{spell(call)} swallows cancellation and the end of a dropped run"
            yield source.found(SWALLOWED, call, what, write="Suppress Exception or something narrower.")


def _caught(source: Source, handler: ast.ExceptHandler) -> set[str]:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    if handler.type is None:
        return {"builtins.BaseException"}
    return {name for it in kinds if it is not None and (name := source.dotted(it)) is not None}


def _passes_on(handler: ast.ExceptHandler) -> bool:
    """True when every way through a handler ends in raising the same exception again."""
    return _always_raises(handler.body, handler.name)


def _always_raises(body: Sequence[ast.stmt], name: str | None) -> bool:
    match body:
        case [*_, ast.Raise(exc=None)]:
            return not _may_leave(body)
        case [*_, ast.Raise(exc=ast.Name(id=raised))]:
            return raised == name and not _may_leave(body)
        case [*_, ast.If(body=then, orelse=orelse)]:
            return _always_raises(then, name) and _always_raises(orelse, name)
        case _:
            return False


def _may_leave(body: Sequence[ast.stmt]) -> bool:
    return any(
        isinstance(it, ast.Return | ast.Break | ast.Continue) for statement in body for it in ast.walk(statement)
    )


def _first_wait(body: Sequence[ast.stmt]) -> ast.expr | ast.stmt | None:
    ahead: list[ast.AST] = list(reversed(body))
    while ahead:
        node = ahead.pop()
        if isinstance(node, _WAITS):
            return node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            ahead += reversed(list(ast.iter_child_nodes(node)))
    return None


def _shown(handler: ast.ExceptHandler) -> str:
    return "except:" if handler.type is None else f"except {spell(handler.type)}"
