"""Made: a dataclass or model that is made in a workflow does not fill its fields by the clock, dice or environment."""

from __future__ import annotations

import ast

from flowtx_dsl.lint.bindings import Defined, Function
from flowtx_dsl.lint.forbidden import GIVEN, lookup
from flowtx_dsl.lint.rules import Rule
from flowtx_dsl.lint.source import Findings, Source, spell, spell_call
from flowtx_dsl.lint.syntax import own_nodes


def check_made(source: Source, function: Function) -> Findings:
    """Instances of a class of this file whose fields the clock or dice fill when they are not given."""
    for node in own_nodes(function):
        if isinstance(node, ast.Call):
            yield from _judge_made(source, node)


def _judge_made(source: Source, call: ast.Call) -> Findings:
    if not isinstance(call.func, ast.Name) or any(isinstance(it, ast.Starred) for it in call.args):
        return
    match source.scopes.of(call).find(call.func.id):
        case (_, [Defined(node=ast.ClassDef() as home)]) if home.decorator_list or home.bases:
            pass
        case _:
            return
    given = {it.arg for it in call.keywords}
    if None in given:
        return
    fields = [it for it in home.body if isinstance(it, ast.AnnAssign) and isinstance(it.target, ast.Name)]
    for it in fields[len(call.args) :]:
        name = it.target.id if isinstance(it.target, ast.Name) else ""
        made = None if name in given else _factory_of(it.value)
        broken = None if made is None else _broken_in(source, made)
        if broken is not None:
            what = f"{spell_call(call)} fills {home.name}.{name} anew at every replay: {spell(broken[0])}"
            yield source.found(broken[1], call, what, write=f"Pass {name} to it.")


def _factory_of(value: ast.expr | None) -> ast.expr | None:
    if not isinstance(value, ast.Call):
        return None
    return next((it.value for it in value.keywords if it.arg in ("default_factory", "factory")), None)


def _broken_in(source: Source, factory: ast.expr) -> tuple[ast.expr, Rule] | None:
    """What a factory calls that a replay would not see again, and its rule."""
    inner: list[ast.expr] = [factory]
    if isinstance(factory, ast.Lambda):
        inner = [it.func for it in ast.walk(factory.body) if isinstance(it, ast.Call)]
    else:
        function = source.reach.local_function(factory)
        if function is not None:
            inner = [it.func for it in own_nodes(function) if isinstance(it, ast.Call)]
    for it in inner:
        name = source.dotted(it)
        listed = None if name is None or name in GIVEN else lookup(name)
        if listed is not None:
            return it, listed[1]
    return None
