"""Uses: what a piece of workflow code calls, besides what it spells as a call, and calls in other files.

The law of this file: small answers from the nodes and their names; who follows them decides what they mean.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from flowtx_dsl.lint.bindings import Function
from flowtx_dsl.lint.scopes import Scopes

CALLING_FIRST = frozenset({"builtins.map", "builtins.filter", "functools.reduce"})
CALLING_BACK = CALLING_FIRST | {"builtins.sorted", "builtins.min", "builtins.max", "itertools.groupby"}
"""What calls a function that it is handed, as the first argument or as ``key=``, within the workflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A use that workflow code makes of a function of another file: as a step, or by calling it.

    ``tx_at`` and ``run_at`` tell which arguments are tx, or belong to the run: positions and keywords.
    """

    name: str
    caller: str
    is_step: bool = False
    tx_at: frozenset[int | str] = frozenset()
    run_at: frozenset[int | str] = frozenset()


def called_back(scopes: Scopes, call: ast.Call) -> list[ast.expr]:
    """The functions that a call hands to something that calls them at once."""
    name = scopes.dotted(call.func, scopes.of(call))
    if name in CALLING_BACK:
        return [*call.args[: name in CALLING_FIRST], *(it.value for it in call.keywords if it.arg == "key")]
    return call.args[:1] if name == "builtins.iter" and len(call.args) == 2 else []


def is_property(function: Function | None) -> bool:
    """True for a method that runs when its name is read."""
    return function is not None and any(
        (it.attr if isinstance(it, ast.Attribute) else getattr(it, "id", "")) in ("property", "cached_property")
        for it in function.decorator_list
    )
