"""Steps: a step is asked for with a function that has a name, not with what calling it gave."""

from __future__ import annotations

import ast

from flowtx_dsl.lint.rules import LAMBDA_STEP, STEP_OF_RESULT
from flowtx_dsl.lint.scopes import Function, Imported
from flowtx_dsl.lint.source import Findings, Source, spell, spell_call
from flowtx_dsl.lint.syntax import own_nodes, root_of, spelled_out

_TARGETS = ("Callable", "HttpTarget", "GrpcTarget", "Target", "FunctionTarget", "partial", "Any", "object")
"""The last word of annotations of what can be asked as a step."""


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
        return isinstance(target, ast.AsyncFunctionDef) or not _makes_functions(source, target)
    root, _ = root_of(call.func)
    found = None if root is None else source.scopes.of(root).find(root.id)
    name = source.dotted(call.func) or ""
    if found is None or name.startswith(("flowtx.", "flowtx_dsl.", "functools.")):
        return False
    # Somebody else's function: a factory of targets is possible, but seldom has everything and the step nothing.
    return alone and bool(call.args) and isinstance(found[1][-1] if found[1] else None, Imported)


def _makes_functions(source: Source, factory: Function) -> bool:
    if factory.returns is not None:
        spelled = spelled_out(factory.returns)
        return any(
            (isinstance(it, ast.Name) and it.id in _TARGETS) or (isinstance(it, ast.Attribute) and it.attr in _TARGETS)
            for it in ast.walk(spelled or factory.returns)
        )
    returned = [it.value for it in own_nodes(factory) if isinstance(it, ast.Return) and it.value is not None]
    return any(
        isinstance(it, ast.Lambda)
        or source.reach.local_function(it) is not None
        or (isinstance(it, ast.Call) and (source.dotted(it.func) or "").startswith(("flowtx.", "functools.")))
        for it in returned
    )
