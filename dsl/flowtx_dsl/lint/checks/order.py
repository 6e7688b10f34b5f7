"""Order: a set's and a folder's order is another one at the next replay, so commands would come in another order."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flowtx_dsl.lint.bindings import Function
from flowtx_dsl.lint.kinds import kind_of
from flowtx_dsl.lint.rules import LISTING_ORDER, SET_ORDER
from flowtx_dsl.lint.source import Findings, Source, spell
from flowtx_dsl.lint.syntax import own_nodes

_ORDERLESS = {
    f"builtins.{name}" for name in ("sorted", "set", "frozenset", "len", "sum", "min", "max", "any", "all")
} | {"collections.Counter", "math.fsum", "math.prod"}
"""What gives the same for every order."""

_ORDERED = {
    f"builtins.{name}" for name in ("list", "tuple", "iter", "next", "enumerate", "zip", "map", "filter", "reversed")
} | {"builtins.dict.fromkeys", "collections.deque", "functools.reduce", "collections.OrderedDict"}
"""What gives, or does, something in the order of what it is handed."""

_PASSING_ON = {f"builtins.{name}" for name in ("list", "tuple", "iter", "map", "filter", "reversed")}
"""What only hands the items on, so that it depends on who gets them."""

_BY_KEY = {f"builtins.{name}" for name in ("sorted", "min", "max")}
_DRAWS = {"choice", "choices", "sample", "shuffle"}


def check_order(source: Source, function: Function) -> Findings:
    """Uses of an order that is not the same at the next replay."""
    for node in own_nodes(function):
        for used in _used_in_order(source, node):
            kind = kind_of(used, source.scopes)
            if kind == "set" and isinstance(node, ast.Call) and _is_ordered_by_length(source, node):
                what = (
                    f"{spell(used)} is a set, and what has the same length stays in its order, another in every process"
                )
                yield source.found(SET_ORDER, used, what, write=f"Put it in order first: sorted({spell(used)}).")
            elif kind == "set":
                what = f"{spell(used)} is a set: its order is another one in every process"
                yield source.found(SET_ORDER, used, what, write=f"Put it in order: sorted({spell(used)}).")
            elif kind == "listing":
                what = f"{spell(used)} gives names in no particular order, and is asked again at every replay"
                yield source.found(LISTING_ORDER, used, what)


def is_listing_in_disorder(source: Source, call: ast.Call) -> bool:
    """True for a folder's listing whose order is used as it comes."""
    parent = source.scopes.parents.get(call)
    if parent is None or kind_of(call, source.scopes) != "listing":
        return False
    if isinstance(parent, ast.comprehension):
        parent = source.scopes.parents.get(parent, parent)
    return any(it is call for it in _used_in_order(source, parent))


def _used_in_order(source: Source, node: ast.AST) -> Iterator[ast.expr]:
    """The expressions whose order a node uses."""
    match node:
        case ast.For(iter=used) | ast.AsyncFor(iter=used):
            yield used
        case ast.ListComp() | ast.GeneratorExp() | ast.DictComp() | ast.SetComp():
            if not _order_is_lost(source, node):
                yield from (it.iter for it in node.generators)
        case ast.Call():
            yield from _used_by_call(source, node)
        case ast.Starred(value=used, ctx=ast.Load()):
            if not isinstance(source.scopes.parents.get(node), ast.Set):
                yield used
        case ast.Assign(targets=[ast.Tuple() | ast.List()], value=used):
            yield used
        case _:
            pass


def _order_is_lost(source: Source, node: ast.expr) -> bool:
    """True when who gets the items does not care for their order."""
    waits = any(isinstance(it, ast.Await) for it in ast.walk(node))
    if isinstance(node, ast.SetComp):
        return not waits
    return not waits and not isinstance(node, ast.DictComp) and _goes_to_orderless(source, node)


def _goes_to_orderless(source: Source, node: ast.AST) -> bool:
    parent = source.scopes.parents.get(node)
    while isinstance(parent, ast.Call) and node is not parent.func:
        name = source.dotted(parent.func)
        if name in _ORDERLESS:
            return True
        if name not in _PASSING_ON:
            return False
        node, parent = parent, source.scopes.parents.get(parent)
    return False


def _used_by_call(source: Source, call: ast.Call) -> Iterator[ast.expr]:
    name = source.dotted(call.func)
    if _is_ordered_by_length(source, call) or (
        name in _ORDERED and not (name in _PASSING_ON and _goes_to_orderless(source, call))
    ):
        yield from call.args
    elif isinstance(call.func, ast.Attribute):
        method, holder = call.func.attr, call.func.value
        if method == "join" or (method in _DRAWS and _is_dice(source, holder)):
            yield from call.args
        if method == "pop" and not call.args:
            yield holder


def _is_ordered_by_length(source: Source, call: ast.Call) -> bool:
    """True for ``sorted(names, key=len)`` and the like, which leave members of one length as they come."""
    if source.dotted(call.func) not in _BY_KEY:
        return False
    return any(it.arg == "key" and source.dotted(it.value) == "builtins.len" for it in call.keywords)


def _is_dice(source: Source, holder: ast.expr) -> bool:
    return isinstance(holder, ast.Attribute) and holder.attr == "random" and source.reach.is_tx(holder.value)
