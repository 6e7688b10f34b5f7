"""Small questions to a syntax tree that need no scopes.

The law of this file: a question is answered from the nodes alone, and no answer recurses.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flowtx_dsl.lint.bindings import Function


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """The nodes that run when a function runs, in source order; a nested function is given, its body is not."""
    ahead: list[ast.AST] = list(reversed(function.body))
    while ahead:
        node = ahead.pop()
        yield node
        if isinstance(node, Function):
            ahead += reversed([*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)])
        else:
            ahead += reversed(list(ast.iter_child_nodes(node)))


def parameters_of(function: Function) -> list[ast.arg]:
    """The parameters that are given one by one: positional ones, then keywords."""
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def spelled_out(annotation: ast.expr | None) -> ast.expr | None:
    """An annotation in quotes as the expression it spells; None when it spells none."""
    if not (isinstance(annotation, ast.Constant) and isinstance(annotation.value, str)):
        return annotation
    try:
        return ast.parse(annotation.value.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return None


def root_of(node: ast.expr) -> tuple[ast.Name | None, str]:
    """The name that a chain of attributes, calls and subscripts begins with, and its first attribute."""
    word = ""
    while True:
        match node:
            case ast.Attribute(value=value, attr=attr):
                node, word = value, attr
            case ast.Call(func=value) | ast.Subscript(value=value):
                node = value
            case ast.Name():
                return node, word
            case _:
                return None, word
