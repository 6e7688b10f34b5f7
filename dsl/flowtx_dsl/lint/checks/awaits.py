"""Awaits: what waits in a workflow is a word of tx or a helper that has tx, and no word is asked without waiting."""

from __future__ import annotations

import ast

from flowtx_dsl.lint.bindings import Assigned, Entered, Function, Imported, Parameter
from flowtx_dsl.lint.checks.names import broken_by
from flowtx_dsl.lint.findings import Finding
from flowtx_dsl.lint.rules import FOREIGN_AWAIT, FORGOTTEN_AWAIT, STEP_CALLED
from flowtx_dsl.lint.source import Findings, Source, spell, spell_call
from flowtx_dsl.lint.syntax import own_nodes
from flowtx_dsl.lint.words import STARTED_AT_ONCE, WAITING

_PLAIN_MODULES = ("contextlib.", "builtins.")
"""What they give waits only for what it is given."""


_WORDS_OF_EVENTS_AND_CHANNELS = frozenset({"wait", "receive", "send", "aclose"})

_HOLDING = (
    ast.Await
    | ast.Call
    | ast.List
    | ast.Tuple
    | ast.Dict
    | ast.Set
    | ast.keyword
    | ast.Starred
    | ast.Assign
    | ast.Return
)
"""What keeps a coroutine for later, or uses it."""


def check_foreign_awaits(source: Source, function: Function) -> Findings:
    """Awaits, async loops and async with-statements that wait for something unjournaled."""
    for node in own_nodes(function):
        match node:
            case ast.Await(value=value):
                waited = [value]
            case ast.AsyncFor(iter=value):
                waited = [value]
            case ast.AsyncWith(items=items):
                waited = [item.context_expr for item in items]
            case ast.comprehension(is_async=1, iter=value):
                waited = [value]
            case _:
                continue
        for value in waited:
            for foreign in _foreign_parts(source, value):
                yield _foreign_finding(source, foreign, node)


def _foreign_parts(source: Source, value: ast.expr) -> list[ast.expr]:
    """What of an awaited expression is surely foreign, and not said by a nearer rule."""
    match value:
        case ast.IfExp(body=first, orelse=second):
            return [*_foreign_parts(source, first), *_foreign_parts(source, second)]
        case ast.BoolOp(values=values):
            return [part for it in values for part in _foreign_parts(source, it)]
        case ast.NamedExpr(value=inner):
            return _foreign_parts(source, inner)
        case ast.Name():
            return [value] if _holds_foreign(source, value) else []
        case ast.Attribute():
            return [] if source.reach.comes_from_tx(value) or _speaks_of_tx(value) else [value]
        case ast.Call():
            return [value] if _is_foreign_call(source, value) else []
        case _:
            return []


def _holds_foreign(source: Source, name: ast.Name) -> bool:
    found = source.scopes.of(name).find(name.id)
    match found:
        case (_, [Assigned(value=ast.Call() as call)]):
            return _is_foreign_call(source, call)
        case _:
            return False


def _is_foreign_call(source: Source, call: ast.Call) -> bool:
    if source.reach.comes_from_tx(call) or source.reach.hands_tx_on(call) or source.reach.word(call):
        return False
    if broken_by(source, call) is not None or _speaks_of_tx(call.func):
        return False
    if source.reach.hands_tx_on(call.func):  # a partial, or a factory of helpers
        return False
    if _is_exit_stack(source, call.func):
        return any(isinstance(it, ast.Call) and _is_foreign_call(source, it) for it in call.args)
    target = source.reach.local_function(call.func)
    if target is not None:
        return not source.reach.is_nested(target)
    name = source.dotted(call.func)
    if name is not None:
        return not name.startswith(_PLAIN_MODULES)
    # Of what a call returns, or a collection holds, nobody can say where it comes from; nor of what an attribute holds,
    # where it is asked to do what events and channels of a run do.
    match call.func:
        case ast.Attribute(value=ast.Call() | ast.Subscript()):
            return False
        case ast.Attribute(value=holder, attr=word) if word in _WORDS_OF_EVENTS_AND_CHANNELS:
            return isinstance(holder, ast.Name) and _is_made_by_others(source, holder)
        case ast.Attribute():
            return True
        case _:
            return False


def _is_made_by_others(source: Source, holder: ast.Name) -> bool:
    """True for a name whose value a call that the run knows nothing of gave, here or when the module was imported."""
    match source.scopes.of(holder).find(holder.id):
        case (_, [Assigned(value=ast.Call()) | Entered(context=ast.Call())]):
            return True
        case (_, [Imported()]):
            return True
        case _:
            return False


def _is_exit_stack(source: Source, called: ast.expr) -> bool:
    """True for a method of ``contextlib.AsyncExitStack``, which waits only for what it is given."""
    if not (isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name)):
        return False
    match source.scopes.of(called).find(called.value.id):
        case (scope, [Assigned(value=ast.Call(func=func)) | Entered(context=ast.Call(func=func))]):
            return source.scopes.dotted(func, scope) == "contextlib.AsyncExitStack"
        case (scope, [Parameter(annotation=ast.expr() as kind)]):
            return source.scopes.dotted(kind, scope) == "contextlib.AsyncExitStack"
        case _:
            return False


def _speaks_of_tx(node: ast.expr) -> bool:
    """``self.tx.step(...)``: that tx is kept in an attribute is said elsewhere."""
    while isinstance(node, ast.Attribute):
        if node.attr in ("tx", "_tx"):
            return True
        node = node.value
    return False


def _foreign_finding(source: Source, foreign: ast.expr, node: ast.AST) -> Finding:
    word = (
        "await" if isinstance(node, ast.Await) else "async for" if not isinstance(node, ast.AsyncWith) else "async with"
    )
    shown = spell_call(foreign) if isinstance(foreign, ast.Call) else spell(foreign)
    place = node if isinstance(node, ast.Await) else foreign
    write = ""
    if isinstance(foreign, ast.Call) and isinstance(node, ast.Await):
        arguments = ", ".join(spell(it) for it in (foreign.func, *foreign.args))
        write = f"Write await tx.step({arguments})."
    return source.found(
        FOREIGN_AWAIT,
        place,
        f"{word} {shown} waits for something that is neither a word of tx nor given tx",
        write=write,
    )


def check_forgotten_awaits(source: Source, function: Function) -> Findings:
    """Words of tx, and helpers with tx, whose coroutine is thrown away or taken for its result."""
    for node in own_nodes(function):
        if isinstance(node, ast.Call) and _needs_await(source, node) and _is_dropped(source, node, function):
            what = f"{spell_call(node)} is asked but not awaited, so nothing happens"
            yield source.found(FORGOTTEN_AWAIT, node, what, write=f"Write await {spell_call(node)}.")


def _needs_await(source: Source, call: ast.Call) -> bool:
    if isinstance(call.func, ast.Attribute) and source.reach.is_tx(call.func.value):
        return call.func.attr in WAITING
    word = source.reach.word(call)
    if word is not None:
        return word in WAITING - STARTED_AT_ONCE
    target = source.reach.local_function(call.func)
    return isinstance(target, ast.AsyncFunctionDef) and target in source.reach.workflow_code


def _is_dropped(source: Source, call: ast.Call, function: Function) -> bool:
    value: ast.AST = call
    parent = source.scopes.parents.get(call)
    while isinstance(parent, ast.BoolOp | ast.NamedExpr) or (
        isinstance(parent, ast.IfExp) and parent.test is not value
    ):
        value, parent = parent, source.scopes.parents.get(parent)
    match parent:
        case ast.Expr() | ast.BinOp() | ast.Compare() | ast.UnaryOp() | ast.JoinedStr():
            return True
        case ast.FormattedValue() | ast.Attribute() | ast.Subscript() | ast.Assert() | ast.For():
            return True
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            return test is value
        case ast.Return():
            return isinstance(function, ast.AsyncFunctionDef)
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return not _is_used_as_coroutine(source, function, name)
        case ast.Assign(targets=[ast.Tuple() | ast.List()]):
            return True
        case _:
            return False


def _is_used_as_coroutine(source: Source, function: Function, name: str) -> bool:
    """True when a name is awaited, handed on, collected or returned somewhere: then its coroutine is not lost."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
            parent = source.scopes.parents.get(node)
            if isinstance(parent, ast.Call) and (source.dotted(parent.func) or "").startswith("builtins."):
                continue  # print, str and the like await nothing
            if isinstance(parent, _HOLDING):
                return True
    return False


def check_steps_called(source: Source, function: Function) -> Findings:
    """Sync functions that are steps elsewhere in the file, called as if they were helpers."""
    for node in own_nodes(function):
        if not isinstance(node, ast.Call) or isinstance(source.scopes.parents.get(node), ast.Await):
            continue
        if not _is_step(source, node.func):
            continue
        if isinstance(node.func, ast.Name | ast.Attribute) and not _is_first_argument_of_step(source, node):
            arguments = ", ".join(spell(it) for it in (node.func, *node.args))
            yield source.found(
                STEP_CALLED,
                node,
                f"{spell_call(node)} calls a step's function directly, so nothing is journaled",
                write=f"Write await tx.step({arguments}).",
            )


def _is_step(source: Source, called: ast.expr) -> bool:
    target = source.reach.local_function(called)
    if target is not None:
        return target in source.reach.steps and target not in source.reach.workflow_code
    name = source.reach.name_elsewhere(called)
    return name is not None and any(it.is_step and it.name == name for it in source.reach.uses)


def _is_first_argument_of_step(source: Source, call: ast.Call) -> bool:
    parent = source.scopes.parents.get(call)
    if isinstance(parent, ast.keyword):
        parent = source.scopes.parents.get(parent)
    return isinstance(parent, ast.Call) and call in source.reach.step_arguments(parent)[0]
