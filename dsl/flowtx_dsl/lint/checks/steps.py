"""Steps: a step is asked for with a function that has a name, not with what calling it gave."""

from __future__ import annotations

import ast

from flowtx_dsl.lint.bindings import Defined, Function, Imported
from flowtx_dsl.lint.rules import LAMBDA_STEP, STEP_OF_RESULT
from flowtx_dsl.lint.source import Findings, Source, spell, spell_call
from flowtx_dsl.lint.syntax import own_nodes, root_of, spelled_out

_DATA = ast.Constant | ast.JoinedStr | ast.BinOp | ast.Compare | ast.List | ast.Dict | ast.Tuple | ast.Set
"""Expressions that give data and no function."""


def check_steps_asked(source: Source, function: Function) -> Findings:
    """What words like tx.step are given as functions."""
    for node in own_nodes(function):
        if not isinstance(node, ast.Call):
            continue
        functions, values = source.reach.step_arguments(node)
        for step in functions:
            if isinstance(step, ast.Lambda):
                yield source.found(LAMBDA_STEP, step, f"{spell(step)} has no name in the journal and no annotations")
                continue
            called = step.value if isinstance(step, ast.Await) else step
            if isinstance(called, ast.Call) and _is_called_too_early(source, called, alone=not values):
                arguments = ", ".join(spell(it) for it in (called.func, *called.args))
                what = f"{spell_call(called)} is called here, in the workflow, and the step is given its result"
                is_first = step in node.args
                write = f"Pass the function itself: {spell(node.func)}({arguments})." if is_first else ""
                yield source.found(STEP_OF_RESULT, step, what, write=write or "Pass the function itself.")


def _is_called_too_early(source: Source, call: ast.Call, *, alone: bool) -> bool:
    """True when a call surely gives a result, and no function or target."""
    target = source.reach.local_function(call.func)
    if target is not None:
        return _surely_gives_data(source, target)
    root, _ = root_of(call.func)
    found = None if root is None else source.scopes.of(root).find(root.id)
    name = source.dotted(call.func) or ""
    if found is None or name.startswith(("flowtx.", "flowtx_dsl.", "functools.")):
        return False
    # Somebody else's function: a factory of targets is possible, but seldom has everything and the step nothing.
    return alone and bool(call.args) and isinstance(found[1][-1] if found[1] else None, Imported)


def _surely_gives_data(source: Source, function: Function) -> bool:
    """True when what a function returns, or says that it returns, can be no function and no target."""
    if isinstance(function, ast.AsyncFunctionDef):
        return True
    if function.returns is not None:
        return _is_data_type(source, function, spelled_out(function.returns))
    returned = [it.value for it in own_nodes(function) if isinstance(it, ast.Return) and it.value is not None]
    return all(isinstance(it, _DATA) for it in returned)


def _is_data_type(source: Source, function: Function, kind: ast.expr | None) -> bool:
    if isinstance(kind, ast.Constant):
        return kind.value is None
    if isinstance(kind, ast.Subscript):
        kind = kind.value
    scope = source.scopes.of(function)
    found = scope.find(kind.id) if isinstance(kind, ast.Name) else None
    if found is not None and found[1] and isinstance(found[1][-1], Defined):
        node = found[1][-1].node
        return isinstance(node, ast.ClassDef) and not any(
            isinstance(it, Function) and it.name == "__call__" for it in node.body
        )
    name = None if kind is None else source.scopes.dotted(kind, scope)
    return name is not None and name.startswith("builtins.") and name not in ("builtins.object", "builtins.type")
