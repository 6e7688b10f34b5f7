"""Kinds: whether an expression surely is a set, a path, or a folder's listing.

The law of this file: it says yes only when every way in which the value can come about says so.
"""

from __future__ import annotations

import ast
from typing import Literal

from flowtx_dsl.lint.bindings import Assigned, Binding, Defined, Function, Parameter
from flowtx_dsl.lint.forbidden import LISTING_METHODS, LISTINGS
from flowtx_dsl.lint.scopes import Scopes
from flowtx_dsl.lint.syntax import spelled_out
from flowtx_dsl.lint.uses import is_property

Kind = Literal["set", "path", "listing"]

DEPTH_MAX = 12
"""Deeper expressions and longer chains of names are not looked through."""

_SET_MAKERS = {"builtins.set", "builtins.frozenset"}
_SET_TYPES = {
    *_SET_MAKERS,
    *(f"typing.{name}" for name in ("Set", "FrozenSet", "AbstractSet", "MutableSet")),
    *(f"collections.abc.{name}" for name in ("Set", "MutableSet")),
}
_SET_METHODS = {"union", "intersection", "difference", "symmetric_difference"}
_SET_OPERATORS = ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor
_PATH_TYPES = {f"pathlib.{name}" for name in ("Path", "PosixPath", "WindowsPath")}
_PATH_PARTS = {"parent", "joinpath", "with_name", "with_suffix", "with_stem", "resolve", "absolute", "expanduser"}


def kind_of(node: ast.expr, scopes: Scopes, depth: int = DEPTH_MAX) -> Kind | None:
    """The kind of an expression's value, None when it has none of them for sure."""
    if not depth:
        return None
    match node:
        case ast.Set() | ast.SetComp():
            return "set"
        case ast.Name():
            return _kind_of_name(node, scopes, depth - 1)
        case ast.Call():
            return _kind_of_call(node, scopes, depth - 1)
        case ast.BinOp(left=left, op=op, right=right):
            return _kind_of_operation(left, op, right, scopes, depth - 1)
        case ast.IfExp(body=first, orelse=second):
            kind = kind_of(first, scopes, depth - 1)
            return kind if kind == kind_of(second, scopes, depth - 1) else None
        case ast.NamedExpr(value=value):
            return kind_of(value, scopes, depth - 1)
        case ast.Attribute(value=value, attr="parent") if kind_of(value, scopes, depth - 1) == "path":
            return "path"
        case ast.Attribute(value=ast.Name() as holder, attr=attr):
            return _kind_of_field(holder, attr, scopes, depth - 1)
        case _:
            return None


def _kind_of_name(node: ast.Name, scopes: Scopes, depth: int) -> Kind | None:
    found = scopes.of(node).find(node.id)
    if found is None:
        return None
    kinds: set[Kind | None] = {_kind_of_binding(it, scopes, depth) for it in found[1] if it != Assigned(value=None)}
    return kinds.pop() if len(kinds) == 1 else None


def _kind_of_field(holder: ast.Name, attr: str, scopes: Scopes, depth: int) -> Kind | None:
    """The kind of what an instance of a class of this file holds, by the class's annotation or its property's."""
    home = scopes.class_behind(holder)
    if not isinstance(home, ast.ClassDef):
        return None
    bindings = scopes.opened_by(home).names.get(attr, [])
    kinds: set[Kind | None] = {
        _kind_of_result(it.node, scopes) if isinstance(it, Defined) else _kind_of_binding(it, scopes, depth)
        for it in bindings
        if not (isinstance(it, Defined) and not (isinstance(it.node, Function) and is_property(it.node)))
    }
    return kinds.pop() if len(kinds) == 1 else None


def _kind_of_result(node: Function | ast.ClassDef, scopes: Scopes) -> Kind | None:
    if not isinstance(node, ast.FunctionDef) or node.returns is None:
        return None
    return _kind_of_annotation(node.returns, scopes)


def _kind_of_binding(binding: Binding, scopes: Scopes, depth: int) -> Kind | None:
    match binding:
        case Assigned(value=value, annotation=annotation):
            known = None if annotation is None else _kind_of_annotation(annotation, scopes)
            return known or (None if value is None else kind_of(value, scopes, depth))
        case Parameter(annotation=ast.expr() as annotation):
            return _kind_of_annotation(annotation, scopes)
        case _:
            return None


def _kind_of_annotation(annotation: ast.expr, scopes: Scopes) -> Kind | None:
    scope = scopes.of(annotation)
    spelled = spelled_out(annotation)
    if isinstance(spelled, ast.Subscript):
        spelled = spelled.value
    name = None if spelled is None else scopes.dotted(spelled, scope)
    if name in _SET_TYPES:
        return "set"
    return "path" if name in _PATH_TYPES else None


def _kind_of_call(call: ast.Call, scopes: Scopes, depth: int) -> Kind | None:
    name = scopes.dotted(call.func, scopes.of(call))
    if name in _SET_MAKERS:
        return "set"
    if name in _PATH_TYPES or name in ("pathlib.Path.cwd", "pathlib.Path.home"):
        return "path"
    if name in LISTINGS:
        return "listing"
    if isinstance(call.func, ast.Name):
        found = scopes.of(call).find(call.func.id)
        match found:
            case (_, [Defined(node=node)]):
                return _kind_of_result(node, scopes)
            case _:
                return None
    if not isinstance(call.func, ast.Attribute):
        return None
    holder, method = call.func.value, call.func.attr
    if method in _SET_METHODS or method == "copy":
        return "set" if kind_of(holder, scopes, depth) == "set" else None
    if method in _PATH_PARTS | LISTING_METHODS and kind_of(holder, scopes, depth) == "path":
        return "listing" if method in LISTING_METHODS else "path"
    return None


def _kind_of_operation(left: ast.expr, op: ast.operator, right: ast.expr, scopes: Scopes, depth: int) -> Kind | None:
    if isinstance(op, ast.Div):
        return "path" if "path" in (kind_of(left, scopes, depth), kind_of(right, scopes, depth)) else None
    if not isinstance(op, _SET_OPERATORS):
        return None
    sides = (left, right)
    of_keys = any(_is_keys(it) for it in sides)
    return "set" if of_keys or any(kind_of(it, scopes, depth) == "set" for it in sides) else None


def _is_keys(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("keys", "items")
