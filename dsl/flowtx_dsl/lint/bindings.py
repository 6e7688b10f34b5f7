"""Bindings: the ways in which a name can come to its value.

The law of this file: plain values that point into the tree; what a binding means is decided elsewhere.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Bound by an import; ``dotted`` is the whole name, ``datetime.datetime``."""

    dotted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Defined:
    """Bound by ``def`` or ``class``."""

    node: Function | ast.ClassDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Bound by a call of the function."""

    annotation: ast.expr | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """Bound by an assignment of one expression to one name."""

    value: ast.expr | None
    annotation: ast.expr | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """Bound by ``with ... as``."""

    context: ast.expr


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """Bound to one of the things that an expression gives."""

    value: ast.expr


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Bound in another way: by a loop, a pattern, a handler."""


Binding = Imported | Defined | Parameter | Assigned | Entered | Unpacked | Unknown
