"""Forbidden names: the clock, dice, the environment, I/O, threads, event loops, called or read in workflow code."""

from __future__ import annotations

import ast

from flowtx_dsl.lint.bindings import Assigned, Function
from flowtx_dsl.lint.checks.order import is_listing_in_disorder
from flowtx_dsl.lint.findings import Finding
from flowtx_dsl.lint.forbidden import GIVEN, MAKERS, PATH_METHODS, VALUES, instead_of, lookup
from flowtx_dsl.lint.kinds import kind_of
from flowtx_dsl.lint.rules import CLOCK, DICE, ENVIRONMENT, IDENTITY, IO, Rule
from flowtx_dsl.lint.scopes import ALIASES_MAX
from flowtx_dsl.lint.source import Findings, Source, spell, spell_call
from flowtx_dsl.lint.syntax import own_nodes, root_of
from flowtx_dsl.lint.uses import called_back

_WHY = {
    CLOCK.code: "reads the clock, and replay reads another time",
    DICE.code: "throws dice, and replay throws again",
    ENVIRONMENT.code: "looks at this process or machine, and replay may run in another",
    IDENTITY.code: "gives another number in every process",
}


def check_names(source: Source, function: Function) -> Findings:
    """Calls and values that another run of the same code would not see again."""
    defaults = [*function.args.defaults, *filter(None, function.args.kw_defaults)]
    # A default is made when the module is imported, which is another time in the process that replays.
    for node in (*(it for default in defaults for it in ast.walk(default)), *own_nodes(function)):
        finding: Finding | None = None
        match node:
            case ast.Call():
                finding = _judge_call(source, node)
            case ast.Attribute(ctx=ast.Load()) | ast.Name(ctx=ast.Load()):
                finding = _judge_value(source, node)
            case ast.With(items=items) | ast.AsyncWith(items=items):
                # A lock of the module, say: entered without being called.
                finding = next((it for item in items if (it := _judge_entered(source, item.context_expr))), None)
            case _:
                pass
        if finding is not None:
            yield finding
        if isinstance(node, ast.Call):
            yield from _judge_called_back(source, node)


def _judge_called_back(source: Source, call: ast.Call) -> Findings:
    """Functions that are handed to what calls them at once: ``sorted(names, key=hash)``."""
    for called in called_back(source.scopes, call):
        name = source.dotted(called)
        listed = None if name is None or name in GIVEN else lookup(name)
        if listed is not None:
            name, rule = listed
            what = f"{spell(called)}, called by {spell_call(call)}, {_WHY.get(rule.code, _what_is_done(name))}"
            yield source.found(rule, called, what, write=instead_of(name))


def broken_by(source: Source, call: ast.Call) -> tuple[str, Rule] | None:
    """The rule that a call breaks by the name of what is called, or of what made it; and that name."""
    called, given = _behind_partials(source, call.func)
    name = source.dotted(called)
    if name is not None and (found := lookup(name)) is not None:
        given += len(call.args) + len(call.keywords)
        return None if given >= GIVEN.get(name, 1_000) else (name, found[1])
    return _made_outside(source, call.func)


def _behind_partials(source: Source, called: ast.expr) -> tuple[ast.expr, int]:
    """What ``functools.partial`` calls, made here or kept under a name, and how many arguments it gives."""
    given = 0
    for _ in range(ALIASES_MAX):
        partial = called
        if isinstance(called, ast.Name):
            match source.scopes.of(called).find(called.id):
                case (_, [Assigned(value=ast.Call() as partial)]):
                    pass
                case _:
                    return called, given
        if not (isinstance(partial, ast.Call) and partial.args and source.dotted(partial.func) == "functools.partial"):
            return called, given
        called, given = partial.args[0], given + len(partial.args) - 1 + len(partial.keywords)
    return called, given


def _made_outside(source: Source, node: ast.expr) -> tuple[str, Rule] | None:
    """What made the client, lock or generator of the module that an expression begins with, and its rule."""
    if any(isinstance(it, ast.Call) for it in ast.walk(node)):
        return None  # said at the inner call
    root, _ = root_of(node)
    found = None if root is None else source.scopes.of(root).find(root.id)
    if found is None or source.reach.is_inside(found[0]):
        return None  # made in the workflow itself: said there
    match found[1]:
        case [Assigned(value=ast.Call(func=func))]:
            name = source.scopes.dotted(func, found[0]) or ""
        case _:
            return None
    last = name.rpartition(".")[2]
    listed = lookup(name) if last[:1].isupper() or last in MAKERS else None
    return None if listed is None else (name, listed[1])


def _judge_call(source: Source, call: ast.Call) -> Finding | None:
    broken = broken_by(source, call)
    if is_listing_in_disorder(source, call):
        return None  # its order is the nearer thing to say
    if broken is not None:
        name, rule = broken
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
    name = source.dotted(node) or ""
    # A name of the module for something below it: `get = os.environ.get`. Of a whole spelling only the exact part.
    rule = VALUES.get(name) or (_rule_above(name) if isinstance(node, ast.Name) else None)
    if rule is None:
        return None
    return source.found(rule, node, f"{spell(node)} {_WHY.get(rule.code, 'is read again at every replay')}")


def _rule_above(name: str) -> Rule | None:
    while name:
        name = name.rpartition(".")[0]
        if name in VALUES:
            return VALUES[name]
    return None


def _judge_entered(source: Source, node: ast.expr) -> Finding | None:
    broken = None if isinstance(node, ast.Call) else _made_outside(source, node)
    if broken is None:
        return None
    return source.found(broken[1], node, f"{spell(node)}, a {broken[0]}, is not journaled")
