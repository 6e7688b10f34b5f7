"""Outside: what lives longer than a run is not changed by it, and tx does not get there, nor into a step."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flowtx_dsl.lint.bindings import Assigned, Function
from flowtx_dsl.lint.findings import Finding
from flowtx_dsl.lint.rules import OUTSIDE_CHANGED, TX_IN_STEP, TX_KEPT
from flowtx_dsl.lint.source import Findings, Source, spell
from flowtx_dsl.lint.syntax import own_nodes, root_of

_CHANGING_METHODS = (
    "append appendleft extend extendleft insert add update remove discard pop popleft popitem clear setdefault sort "
    "reverse rotate subtract intersection_update difference_update symmetric_difference_update"
)
_CHANGING = frozenset(_CHANGING_METHODS.split())
_CONTAINERS = {
    *(f"builtins.{name}" for name in ("list", "dict", "set", "bytearray")),
    *(f"collections.{name}" for name in ("defaultdict", "deque", "Counter", "OrderedDict")),
    *(f"typing.{name}" for name in ("List", "Dict", "Set")),
}


def check_outside(source: Source, function: Function) -> Findings:
    """Changes of globals and closures, and places where tx is kept."""
    for node in own_nodes(function):
        match node:
            case ast.Assign(targets=targets, value=value):
                yield from _judge_assignment(source, targets, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
                yield from _judge_assignment(source, [target], value)
            case ast.AugAssign(target=target):
                yield from _judge_assignment(source, [target], None)
            case ast.Delete(targets=targets):
                yield from _judge_assignment(source, targets, None)
            case ast.For(target=target) | ast.AsyncFor(target=target):
                yield from _judge_assignment(source, [target], None)
            case ast.Call():
                yield from _judge_call(source, node)
            case _:
                pass


def _judge_assignment(source: Source, targets: list[ast.expr], value: ast.expr | None) -> Iterator[Finding]:
    keeps_tx = value is not None and _holds_tx(source, value)
    for target in _single(targets):
        is_outside = _is_outside(source, target)
        if keeps_tx and (is_outside or isinstance(target, ast.Attribute)):
            yield source.found(TX_KEPT, target, f"{spell(target)} keeps tx beyond the call it was given to")
        elif is_outside:
            yield source.found(OUTSIDE_CHANGED, target, f"{spell(target)} lives outside the workflow that changes it")


def _single(targets: list[ast.expr]) -> Iterator[ast.expr]:
    ahead = list(reversed(targets))
    while ahead:
        match ahead.pop():
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                ahead += reversed(elements)
            case ast.Starred(value=value):
                ahead.append(value)
            case target:
                yield target


def _is_outside(source: Source, target: ast.expr) -> bool:
    """True for a target whose root name belongs to the module, an imported module, or a closure around the workflow."""
    root, _ = root_of(target)
    if root is None or (isinstance(target, ast.Attribute | ast.Subscript) and source.reach.comes_from_tx(target)):
        return False
    if isinstance(target, ast.Attribute | ast.Subscript) and any(
        isinstance(it, ast.Call) for it in ast.walk(target.value)
    ):
        return False  # what a call gave may be anybody's
    found = source.scopes.of(root).find(root.id)
    return found is not None and not source.reach.is_inside(found[0])


def _holds_tx(source: Source, value: ast.expr) -> bool:
    parts = [value]
    if isinstance(value, ast.Tuple | ast.List | ast.Set):
        parts = value.elts
    elif isinstance(value, ast.Dict):
        parts = value.values
    return any(source.reach.is_tx(it) for it in parts)


def _judge_call(source: Source, call: ast.Call) -> Iterator[Finding]:
    if isinstance(call.func, ast.Attribute) and call.func.attr in _CHANGING:
        holder = call.func.value
        if not _is_outside(source, holder) or not _is_container(source, holder):
            return
        if any(_holds_tx(source, it) for it in call.args):
            yield source.found(TX_KEPT, call, f"{spell(call.func)}(...) keeps tx beyond the call it was given to")
        else:
            what = f"{spell(call.func)}(...) changes what lives outside the workflow"
            yield source.found(OUTSIDE_CHANGED, call, what)
    elif source.dotted(call.func) == "builtins.next" and call.args:
        taken = call.args[0]
        if isinstance(taken, ast.Name) and _is_outside(source, taken) and _is_variable(source, taken):
            yield source.found(OUTSIDE_CHANGED, call, f"next({taken.id}) moves on what lives outside the workflow")
    elif source.dotted(call.func) == "builtins.setattr" and len(call.args) == 3 and _holds_tx(source, call.args[2]):
        yield source.found(TX_KEPT, call, "setattr(...) keeps tx beyond the call it was given to")


def _is_variable(source: Source, name: ast.Name) -> bool:
    found = source.scopes.of(name).find(name.id)
    return found is not None and any(isinstance(it, Assigned) for it in found[1])


def _is_container(source: Source, holder: ast.expr) -> bool:
    """True for a name that is given a list, dict, set or the like, and for what is reached through one."""
    root, _ = root_of(holder)
    found = None if root is None else source.scopes.of(root).find(root.id)
    if found is None:
        return False
    owner, bindings = found
    for binding in bindings:
        if not isinstance(binding, Assigned):
            continue
        kind: ast.expr | None = binding.annotation
        if isinstance(binding.value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
            return True
        if isinstance(binding.value, ast.Call):
            kind = binding.value.func
        if isinstance(kind, ast.Subscript):
            kind = kind.value
        if kind is not None and source.scopes.dotted(kind, owner) in _CONTAINERS:
            return True
    return False


def check_tx_in_steps(source: Source, function: Function) -> Findings:
    """Steps that are handed tx, or see it as a closure."""
    for node in own_nodes(function):
        if not isinstance(node, ast.Call):
            continue
        functions, values = source.reach.step_arguments(node)
        for value in values:
            for inner in ast.walk(value):
                if source.reach.is_tx(inner) and not isinstance(source.scopes.parents.get(inner), ast.Attribute):
                    assert isinstance(inner, ast.Name)
                    yield source.found(TX_IN_STEP, inner, "a step is given tx, which cannot travel in a payload")
        for step in functions:
            target = source.reach.local_function(step)
            if target is not None and _uses_tx(source, target):
                what = f"the step {target.name} uses tx, but steps run outside the workflow"
                yield source.found(TX_IN_STEP, step, what)
            elif isinstance(step, ast.Call) and any(source.reach.is_tx(it) for it in step.args):
                yield source.found(TX_IN_STEP, step, f"{spell(step)} hands tx to a step")


def _uses_tx(source: Source, function: Function) -> bool:
    return source.reach.takes_tx(function) or any(source.reach.is_tx(it) for it in own_nodes(function))
