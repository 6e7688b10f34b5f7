"""Scopes: which name means what at which place of a file.

The law of this file: Python's own scoping rules, read from the syntax tree without running anything. The tree is walked
with a stack of its own, so that no depth of nesting can be too deep. What is not understood is ``Unknown``.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from flowtx_dsl.lint.bindings import (
    Assigned,
    Binding,
    Defined,
    Entered,
    Function,
    Imported,
    Parameter,
    Unknown,
    Unpacked,
)

Opening = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef | ast.expr
"""What opens a scope; of the expressions, comprehensions do."""

BUILTINS = frozenset(dir(builtins))
ALIASES_MAX = 8
"""So many names are followed from one to the next before giving up."""


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
        if root is None:
            return self._name_in_class(node.id, rest, scope, follow) if len(rest) == 1 else None
        return ".".join([root, *reversed(rest)])

    def _name_in_class(self, name: str, rest: list[str], scope: Scope, follow: int) -> str | None:
        """``Clock.now`` of a class of this file that says ``now = time.time``, as a static method or plainly."""
        match scope.find(name):
            case (_, [Defined(node=ast.ClassDef() as home)]) if follow:
                inside = self.opened_by(home)
                match inside.names.get(rest[0]):
                    case [Assigned(value=ast.Call(func=ast.Name(id="staticmethod"), args=[value]))]:
                        return self.dotted(value, inside, follow - 1)
                    case [Assigned(value=ast.Attribute() | ast.Name() as value)]:
                        return self.dotted(value, inside, follow - 1)
                    case _:
                        return None
            case _:
                return None

    def class_behind(self, holder: ast.Name) -> ast.ClassDef | str | None:
        """The class that a name is, or of which it surely is an instance: of this file, or an import's whole name."""
        scope, name = self.of(holder), holder.id
        if name in ("self", "cls"):
            home = next((it for it in self.above(holder) if isinstance(it, ast.ClassDef)), None)
            if home is not None:
                return home
        for _ in range(ALIASES_MAX):
            match scope.find(name):
                case (_, [Defined(node=ast.ClassDef() as found)]):
                    return found
                case (_, [Imported(dotted=dotted)]):
                    return dotted
                case (
                    scope,
                    [
                        Assigned(value=ast.Call(func=ast.Name(id=name)))
                        | Assigned(annotation=ast.Name(id=name))
                        | Parameter(annotation=ast.Name(id=name))
                    ],
                ):
                    continue
                case (
                    scope,
                    [
                        Assigned(annotation=ast.Constant(value=str() as name))
                        | Parameter(annotation=ast.Constant(value=str() as name))
                    ],
                ):
                    continue
                case _:
                    return None
        return None

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
                dot = "" if module.endswith(".") else "."
                scope.bind(alias.asname or alias.name, Imported(dotted=f"{module}{dot}{alias.name}"))

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
            case ast.Tuple(elts=targets) | ast.List(elts=targets) as whole:
                scope.bind(name, self._unpacked(node, targets, whole))
            case _:
                scope.bind(name, Unknown())

    def _unpacked(self, node: ast.Name, targets: list[ast.expr], whole: ast.AST) -> Binding:
        match self.parents.get(whole):
            case ast.Assign(value=ast.Tuple(elts=values)) if len(values) == len(targets) and not any(
                isinstance(it, ast.Starred) for it in [*values, *targets]
            ):
                return Assigned(value=values[targets.index(node)])
            case ast.Assign(value=value):
                return Unpacked(value=value)
            case _:
                return Unknown()


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
