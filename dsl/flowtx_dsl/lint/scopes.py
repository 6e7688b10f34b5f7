"""Scopes: which name means what at which place of a file.

The law of this file: Python's own scoping rules, read from the syntax tree without running anything. The tree is walked
with a stack of its own, so that no depth of nesting can be too deep. What is not understood is ``Unknown``.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass

Function = ast.FunctionDef | ast.AsyncFunctionDef
Opening = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef | ast.expr
"""What opens a scope; of the expressions, comprehensions do."""

BUILTINS = frozenset(dir(builtins))
ALIASES_MAX = 8
"""So many names are followed from one to the next before giving up."""


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
class Unknown:
    """Bound in another way: by a loop, an unpacking, a pattern, a handler."""


Binding = Imported | Defined | Parameter | Assigned | Entered | Unknown


class Scope:
    """One scope: the names bound in it, and the scope around it."""

    __slots__ = ("names", "node", "outward", "parent", "stars")

    def __init__(self, node: Opening, parent: Scope | None) -> None:
        self.node = node
        self.parent = parent
        self.names: dict[str, list[Binding]] = {}
        self.outward: dict[str, Scope] = {}  # what `global` and `nonlocal` send elsewhere
        self.stars: list[str] = []  # modules of which everything is imported

    @property
    def is_comprehension(self) -> bool:
        """True for the scope of a comprehension's own loop variables."""
        return isinstance(self.node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp)

    def around(self) -> Iterator[Scope]:
        """This scope and those whose names it sees, innermost first: a class's names are seen in its body only."""
        scope: Scope | None = self
        while scope is not None:
            if scope is self or not isinstance(scope.node, ast.ClassDef):
                yield scope
            scope = scope.parent

    def bind(self, name: str, binding: Binding) -> None:
        """Note one way in which a name gets its value here, or where `global` and `nonlocal` send it."""
        self.outward.get(name, self).names.setdefault(name, []).append(binding)

    def find(self, name: str) -> tuple[Scope, list[Binding]] | None:
        """The scope that owns a name, and all its bindings; None for builtins and unknown names."""
        for scope in self.around():
            if name in scope.outward:
                owner = scope.outward[name]
                return owner, owner.names.get(name, [])
            if name in scope.names:
                return scope, scope.names[name]
        return None

    def send_outward(self, name: str, *, to_module: bool) -> None:
        """Carry out ``global`` and ``nonlocal``."""
        outer = [scope for scope in self.around() if scope is not self]
        owner = outer[-1] if outer else self
        if not to_module:
            owner = next((scope for scope in outer if name in scope.names), owner)
        self.outward[name] = owner


class Scopes:
    """The scopes of a whole file, each node's scope and parent, and the functions in the order of the source."""

    def __init__(self, tree: ast.Module) -> None:
        self.module = Scope(tree, None)
        self.parents: dict[ast.AST, ast.AST] = {}
        self.functions: list[Function] = []
        self._of: dict[ast.AST, Scope] = {}
        self._opened: dict[ast.AST, Scope] = {tree: self.module}
        ahead: list[tuple[ast.AST, Scope]] = [(tree, self.module)]
        while ahead:
            node, scope = ahead.pop()
            self._of[node] = scope
            self._bind(node, scope)
            children = list(ast.iter_child_nodes(node))
            for child in children:
                if not isinstance(child, ast.expr_context | ast.operator | ast.boolop | ast.unaryop | ast.cmpop):
                    self.parents[child] = node
            inner = self._inner(node, scope)
            outside = set(map(id, _evaluated_outside(node)))
            ahead += [(child, scope if id(child) in outside else inner) for child in reversed(children)]

    def of(self, node: ast.AST) -> Scope:
        """The scope in which a node is evaluated."""
        return self._of[node]

    def opened_by(self, node: ast.AST) -> Scope:
        """The scope that a function, class, lambda or comprehension opens."""
        return self._opened[node]

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """What a node stands in, innermost first."""
        parent = self.parents.get(node)
        while parent is not None:
            yield parent
            parent = self.parents.get(parent)

    def function_around(self, node: ast.AST) -> Function | None:
        """The innermost function whose body a node stands in."""
        return next((it for it in self.above(node) if isinstance(it, Function)), None)

    def class_of(self, function: Function) -> ast.ClassDef | None:
        """The class whose method a function is."""
        parent = self.parents.get(function)
        return parent if isinstance(parent, ast.ClassDef) else None

    def dotted(self, node: ast.expr, scope: Scope, follow: int = ALIASES_MAX) -> str | None:
        """The whole name of what ``a.b.c`` stands for, ``datetime.datetime.now``, ``builtins.open``; else None."""
        rest: list[str] = []
        while isinstance(node, ast.Attribute):
            rest.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        root = self._whole_name(node.id, scope, follow)
        return None if root is None else ".".join([root, *reversed(rest)])

    def _whole_name(self, name: str, scope: Scope, follow: int) -> str | None:
        found = scope.find(name)
        if found is None:
            if name in BUILTINS:
                return f"builtins.{name}"
            return f"{self.module.stars[0]}.{name}" if self.module.stars else None
        owner, bindings = found
        match bindings:
            case [Imported(dotted=dotted), *others] if all(isinstance(other, Imported) for other in others):
                return dotted
            case [Assigned(value=value)] if follow and isinstance(value, ast.Attribute | ast.Name):
                return self.dotted(value, owner, follow - 1)
            case _:
                return None

    def _inner(self, node: ast.AST, scope: Scope) -> Scope:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                inner = self._opened[node] = Scope(node, scope)
                arguments = node.args
                every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
                every += [it for it in (arguments.vararg, arguments.kwarg) if it is not None]
                for it in every:
                    inner.bind(it.arg, Parameter(annotation=it.annotation))
                return inner
            case ast.ClassDef() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                inner = self._opened[node] = Scope(node, scope)
                return inner
            case _:
                return scope

    def _bind(self, node: ast.AST, scope: Scope) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.functions.append(node)
                scope.bind(node.name, Defined(node=node))
            case ast.ClassDef():
                scope.bind(node.name, Defined(node=node))
            case ast.Import() | ast.ImportFrom():
                self._bind_imports(node, scope)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                for name in names:
                    scope.send_outward(name, to_module=isinstance(node, ast.Global))
            case ast.Name(id=name, ctx=ast.Store()):
                self._bind_name(node, name, scope)
            case ast.ExceptHandler(name=str() as name) | ast.MatchAs(name=str() as name):
                scope.bind(name, Unknown())
            case ast.MatchStar(name=str() as name) | ast.MatchMapping(rest=str() as name):
                scope.bind(name, Unknown())
            case _:
                pass

    def _bind_imports(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                scope.bind(alias.asname or whole, Imported(dotted=whole))
            return
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                self.module.stars.append(module)
            else:
                scope.bind(alias.asname or alias.name, Imported(dotted=f"{module}.{alias.name}"))

    def _bind_name(self, node: ast.Name, name: str, scope: Scope) -> None:
        match self.parents.get(node):
            case ast.Assign(targets=targets, value=value) if node in targets:
                scope.bind(name, Assigned(value=value))
            case ast.AnnAssign(value=value, annotation=annotation):
                scope.bind(name, Assigned(value=value, annotation=annotation))
            case ast.AugAssign():
                scope.bind(name, Assigned(value=None))
            case ast.NamedExpr(value=value):
                while scope.is_comprehension and scope.parent is not None:
                    scope = scope.parent
                scope.bind(name, Assigned(value=value))
            case ast.withitem(context_expr=context):
                scope.bind(name, Entered(context=context))
            case _:
                scope.bind(name, Unknown())


def _evaluated_outside(node: ast.AST) -> Iterator[ast.AST]:
    """The children that are evaluated in the scope around the one their parent opens."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from node.decorator_list
            yield node.args  # defaults and annotations; the parameters themselves are bound by name
            if node.returns is not None:
                yield node.returns
        case ast.Lambda():
            yield node.args
        case ast.ClassDef():
            yield from [*node.decorator_list, *node.bases, *node.keywords]
        case _:
            pass
