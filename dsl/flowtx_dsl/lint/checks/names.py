"""Forbidden names: the clock, dice, the environment, I/O, threads, event loops, called or read in workflow code."""

from __future__ import annotations

import ast

from flowtx_dsl.lint.checks.order import is_listing_in_disorder
from flowtx_dsl.lint.findings import Finding
from flowtx_dsl.lint.forbidden import GIVEN, PATH_METHODS, VALUES, instead_of, lookup
from flowtx_dsl.lint.kinds import kind_of
from flowtx_dsl.lint.rules import CLOCK, DICE, ENVIRONMENT, IDENTITY, IO, Rule
from flowtx_dsl.lint.scopes import Function
from flowtx_dsl.lint.source import Findings, Source, spell, spell_call
from flowtx_dsl.lint.syntax import own_nodes

_WHY = {
    CLOCK.code: "reads the clock, and replay reads another time",
    DICE.code: "throws dice, and replay throws again",
    ENVIRONMENT.code: "looks at this process or machine, and replay may run in another",
    IDENTITY.code: "gives another number in every process",
}


def check_names(source: Source, function: Function) -> Findings:
    """Calls and values that another run of the same code would not see again."""
    for node in own_nodes(function):
        finding: Finding | None = None
        match node:
            case ast.Call():
                finding = _judge_call(source, node)
            case ast.Attribute(ctx=ast.Load()) | ast.Name(ctx=ast.Load()):
                finding = _judge_value(source, node)
            case ast.With(items=items) | ast.AsyncWith(items=items):
                # A loop's own scope can be entered without being called: `async with asyncio.Lock`, seldom as it is.
                finding = next((it for item in items if (it := _judge_entered(source, item.context_expr))), None)
            case _:
                pass
        if finding is not None:
            yield finding


def breaks_a_rule(source: Source, call: ast.Call) -> Rule | None:
    """The rule that a call breaks by its name alone."""
    name = source.dotted(call.func)
    found = None if name is None else lookup(name)
    if name is None or found is None or len(call.args) + len(call.keywords) >= GIVEN.get(name, 1_000):
        return None
    return found[1]


def _judge_call(source: Source, call: ast.Call) -> Finding | None:
    rule = breaks_a_rule(source, call)
    if is_listing_in_disorder(source, call):
        return None  # its order is the nearer thing to say
    if rule is not None:
        name = source.dotted(call.func) or ""
        what = f"{spell_call(call)} {_WHY.get(rule.code, _what_is_done(name))}"
        return source.found(rule, call, what, write=instead_of(name))
    if (
        isinstance(call.func, ast.Attribute)
        and call.func.attr in PATH_METHODS
        and kind_of(call.func.value, source.scopes) == "path"
    ):
        return source.found(IO, call, f"{spell_call(call)} asks the file system, and a replay asks it again")
    return None


def _what_is_done(name: str) -> str:
    return "is done again at every replay" if name.startswith(("builtins.", "os.")) else "is not journaled"


def _judge_value(source: Source, node: ast.Attribute | ast.Name) -> Finding | None:
    if isinstance(node, ast.Name):
        found = source.scopes.of(node).find(node.id)
        if found is not None and source.reach.is_inside(found[0]):
            return None  # a local name for it: said where it got its value
    rule = VALUES.get(source.dotted(node) or "")
    if rule is None:
        return None
    return source.found(rule, node, f"{spell(node)} {_WHY.get(rule.code, 'is read again at every replay')}")


def _judge_entered(source: Source, node: ast.expr) -> Finding | None:
    name = None if isinstance(node, ast.Call) else source.dotted(node)
    found = None if name is None else lookup(name)
    if name is None or found is None:
        return None
    return source.found(found[1], node, f"with {spell(node)} is not journaled", write=instead_of(name))
