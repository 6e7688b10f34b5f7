"""Signatures: inputs and results of workflows and steps have annotations, of types that a journal can hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flowtx_dsl.lint.bindings import Function
from flowtx_dsl.lint.rules import (
    KEYWORDS_ONLY,
    MUTABLE_DEFAULT,
    STEP_ANNOTATION,
    UNENCODABLE,
    WORKFLOW_ANNOTATION,
    Rule,
)
from flowtx_dsl.lint.source import Findings, Source, spell
from flowtx_dsl.lint.syntax import parameters_of
from flowtx_dsl.lint.unencodable import unencodable_parts

_MUTABLE_MAKERS = {
    *(f"builtins.{name}" for name in ("list", "dict", "set", "bytearray")),
    *(f"collections.{name}" for name in ("defaultdict", "deque", "Counter", "OrderedDict")),
}


def check_workflow_signature(source: Source, function: Function) -> Findings:
    """The inputs and the result of a workflow."""
    origin = source.reach.workflow_code.get(function)
    if origin is not None and origin.is_workflow:
        travelling = parameters_of(function)[1:]
        yield from _check_travelling(source, function, travelling, WORKFLOW_ANNOTATION, f"workflow {function.name}")


def check_step_signature(source: Source, function: Function) -> Findings:
    """The arguments and the result of a step."""
    travelling = parameters_of(function)
    is_method = source.scopes.class_of(function) is not None
    if is_method and not any(isinstance(it, ast.Name) and it.id == "staticmethod" for it in function.decorator_list):
        travelling = travelling[1:]
    travelling = [it for it in travelling if not (it in function.args.kwonlyargs and it.arg == "result")]
    yield from _check_travelling(source, function, travelling, STEP_ANNOTATION, f"step {function.name}")


def check_defaults(source: Source, function: Function) -> Findings:
    """Defaults of workflows, helpers and steps that all runs would share."""
    for default in [*function.args.defaults, *filter(None, function.args.kw_defaults)]:
        is_made = isinstance(default, ast.Call) and source.dotted(default.func) in _MUTABLE_MAKERS
        if is_made or isinstance(default, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
            what = f"the default {spell(default)} of {function.name} is shared by all runs and can be changed"
            yield source.found(MUTABLE_DEFAULT, default, what)


def _check_travelling(
    source: Source, function: Function, travelling: list[ast.arg], missing: Rule, what: str
) -> Findings:
    for it in [*travelling, *filter(None, [function.args.vararg])]:
        if it.annotation is None:
            yield source.found(missing, it, f"{what}: argument {it.arg} has no annotation")
    if function.returns is None:
        yield source.found(missing, _name_of(function), f"{what}: its result has no annotation", write=_result_remedy())
    for annotation, name in _annotations(function, travelling):
        for part, reason in unencodable_parts(source.scopes, annotation):
            yield source.found(UNENCODABLE, annotation, f"{what}: {name} is {part}, and {reason}")
    for it in _needed_keywords(function):
        if it in travelling:
            yield source.found(
                KEYWORDS_ONLY, it, f"{what} needs the keyword {it.arg}, but arguments travel by position"
            )
    if function.args.kwarg is not None and not function.args.vararg and not travelling:
        kwarg = function.args.kwarg
        yield source.found(KEYWORDS_ONLY, kwarg, f"{what} takes **{kwarg.arg} only, but arguments travel by position")


def _result_remedy() -> str:
    return "Annotate it, with -> None when nobody needs it."


def _name_of(function: Function) -> ast.arg:
    """The place of a function's name, as a node: what has no annotation stands nowhere itself."""
    column = function.col_offset + (len("async def ") if isinstance(function, ast.AsyncFunctionDef) else len("def "))
    end = column + len(function.name.encode())
    return ast.arg(
        arg=function.name, lineno=function.lineno, col_offset=column, end_lineno=function.lineno, end_col_offset=end
    )


def _annotations(function: Function, travelling: list[ast.arg]) -> Iterator[tuple[ast.expr, str]]:
    for it in [*travelling, *filter(None, [function.args.vararg])]:
        if it.annotation is not None:
            yield it.annotation, f"argument {it.arg}"
    if function.returns is not None:
        yield function.returns, "its result"


def _needed_keywords(function: Function) -> Iterator[ast.arg]:
    for it, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if default is None:
            yield it
