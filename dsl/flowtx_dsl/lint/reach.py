"""Reach: which functions of a file run inside a workflow, which run as steps, and which names hold tx.

The law of this file: it follows the file's own calls from the decorated functions on, and from what other files use of
it, until nothing new is found, and runs nothing. A function that takes ``Tx`` is a helper whoever calls it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flowtx_dsl.lint.bindings import Assigned, Defined, Entered, Function, Unpacked
from flowtx_dsl.lint.scopes import Scope, Scopes
from flowtx_dsl.lint.syntax import own_nodes, parameters_of, root_of, spelled_out
from flowtx_dsl.lint.uses import Use, called_back, is_property
from flowtx_dsl.lint.words import (
    AT_ONCE,
    DECORATORS,
    FUNCTION_KEYWORDS,
    FUNCTIONS_AT,
    TX_TYPES,
    WAITING,
)

FOLLOWED_MAX = 5
"""So many names are followed from one to the next before giving up."""


_MAKING = frozenset({"__init__", "__post_init__", "__new__"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Why a function counts as workflow code: it is a workflow, or helps one; then ``caller`` says whom."""

    is_workflow: bool
    caller: str = ""


class Reach:
    """What a file's functions are to its workflows."""

    def __init__(self, tree: ast.Module, scopes: Scopes, used: Iterable[Use] = ()) -> None:
        self._scopes = scopes
        self.uses: set[Use] = set()
        """What workflow code of this file does with functions of other files; their names as the imports spell them."""
        self.workflow_code: dict[Function, Origin] = {}
        self.steps: dict[Function, None] = {}
        self._tx: set[tuple[Scope, str]] = set()
        self._of_the_run: set[tuple[Scope, str]] = set()
        for function in scopes.functions:
            self._begin(function)
        self._begin_called(tree)
        for use in used:
            self._begin_used(use)
        self._spread()

    # -- questions

    def is_tx(self, node: ast.AST, follow: int = FOLLOWED_MAX) -> bool:
        """True for a name that holds tx."""
        if not isinstance(node, ast.Name) or not follow:
            return False
        found = self._scopes.of(node).find(node.id) if node in self._scopes.parents else None
        if found is None:
            return False
        owner, bindings = found
        if (owner, node.id) in self._tx:
            return True
        match bindings:
            case [Assigned(value=ast.Name() as value)] if value is not node:
                return self.is_tx(value, follow - 1)
            case _:
                return False

    def is_of_the_run(self, node: ast.AST, follow: int = FOLLOWED_MAX) -> bool:
        """True for a name that holds what a word of tx gave: a nursery, a scope, a coroutine still to be awaited."""
        if not isinstance(node, ast.Name) or not follow:
            return False
        found = self._scopes.of(node).find(node.id)
        if found is None:
            return False
        owner, bindings = found
        if (owner, node.id) in self._of_the_run:
            return True
        given = [it for it in bindings if not (isinstance(it, Assigned) and it.value is None)]
        return bool(given) and all(self._gives_of_the_run(it, follow - 1) for it in given)

    def _gives_of_the_run(self, binding: object, follow: int) -> bool:
        match binding:
            case Assigned(value=ast.expr() as value) | Entered(context=value) | Unpacked(value=value):
                return self._is_word_of_the_run(value, follow) or self.hands_tx_on(value, follow)
            case _:
                return False

    def _is_word_of_the_run(self, node: ast.expr, follow: int) -> bool:
        if isinstance(node, ast.Name):
            return self.is_of_the_run(node, follow)
        root, word = root_of(node)
        if root is None:
            return False
        return (self.is_tx(root) and word not in AT_ONCE) or self.is_of_the_run(root, follow)

    def comes_from_tx(self, node: ast.expr) -> bool:
        """True for tx, its words, and what those words gave: ``nursery.start(...)``."""
        root, word = root_of(node)
        if root is None:
            return False
        return (self.is_tx(root) and word not in AT_ONCE) or self.is_of_the_run(root)

    def hands_tx_on(self, node: ast.expr, follow: int = FOLLOWED_MAX) -> bool:
        """True for a call that is given tx, one of its words, or something that belongs to the run."""
        if not isinstance(node, ast.Call):
            return False
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        return any(self.is_tx(it) or self._is_handle(it, follow) for it in given)

    def _is_handle(self, node: ast.expr, follow: int) -> bool:
        if isinstance(node, ast.Attribute):
            return self.is_tx(node.value) and node.attr in WAITING
        return isinstance(node, ast.Name | ast.Call) and self._is_word_of_the_run(node, follow)

    def word(self, call: ast.Call, follow: int = FOLLOWED_MAX) -> str | None:
        """The word of tx, or of something tx gave, that a call is: ``step``; None for other calls."""
        called: ast.expr = call.func
        while isinstance(called, ast.Name) and follow:
            found = self._scopes.of(called).find(called.id)
            match found:
                case (_, [Assigned(value=value)]) if isinstance(value, ast.Attribute | ast.Name):
                    called, follow = value, follow - 1
                case _:
                    return None
        if isinstance(called, ast.Attribute) and (self.is_tx(called.value) or self.is_of_the_run(called.value)):
            return called.attr
        return None

    def step_arguments(self, call: ast.Call) -> tuple[list[ast.expr], list[ast.expr]]:
        """The functions that a word runs as steps, and the values it hands to them; both empty for other calls."""
        word = self.word(call)
        if word not in FUNCTIONS_AT:
            return [], []
        count = FUNCTIONS_AT[word]
        functions = [*call.args[:count], *(it.value for it in call.keywords if it.arg in FUNCTION_KEYWORDS)]
        functions += [part for it in call.keywords if it.arg == "effect" for part in _arguments_of(it.value)]
        values = [*call.args[count:], *(it.value for it in call.keywords if it.arg is None)]
        return functions, values

    def name_elsewhere(self, node: ast.expr) -> str | None:
        """The whole name of a function of another file, or of a method of one of its classes; else None."""
        name = self._scopes.dotted(node, self._scopes.of(node))
        if name is None and isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            home = self._scopes.class_behind(node.value)
            name = f"{home}.{node.attr}" if isinstance(home, str) else None
        return None if name is None or name.startswith(("builtins.", "flowtx.", "flowtx_dsl.")) else name

    def local_function(self, node: ast.AST) -> Function | None:
        """The function of this file that an expression names: ``withdraw``, ``self.withdraw``, a partial of one."""
        match node:
            case ast.Name():
                found = self._scopes.of(node).find(node.id)
                defined = [it.node for it in found[1] if isinstance(it, Defined)] if found else []
                last = defined[-1] if defined else None
                return last if isinstance(last, Function) else None
            case ast.Attribute(value=ast.Name() as holder, attr=attr):
                return self._method(holder, attr)
            case ast.Call(func=func, args=[first, *_]):
                is_partial = self._scopes.dotted(func, self._scopes.of(func)) == "functools.partial"
                return self.local_function(first) if is_partial else None
            case _:
                return None

    def _method(self, holder: ast.Name, attr: str) -> Function | None:
        home = self._scopes.class_behind(holder)
        if not isinstance(home, ast.ClassDef):
            return None
        methods = [it for it in home.body if isinstance(it, Function) and it.name == attr]
        return methods[-1] if methods else None

    def is_nested(self, function: Function) -> bool:
        """True for a function that is defined inside workflow code, whose tx it sees."""
        return any(isinstance(it, Function) and it in self.workflow_code for it in self._scopes.above(function))

    def takes_tx(self, function: Function) -> bool:
        """True when one of its parameters holds tx."""
        scope = self._scopes.opened_by(function)
        return any((scope, it.arg) in self._tx for it in parameters_of(function))

    def is_inside(self, scope: Scope) -> bool:
        """True for a scope whose names live and die with a run."""
        node = scope.node
        if isinstance(node, ast.Module):
            return False
        if isinstance(node, ast.ClassDef):
            around = self._scopes.function_around(node)
            return around is not None and self.is_inside(self._scopes.opened_by(around))
        if isinstance(node, Function):
            return node in self.workflow_code or self.is_nested(node)
        return True

    # -- following the calls

    def _begin(self, function: Function) -> None:
        scope = self._scopes.opened_by(function)
        around = self._scopes.of(function)
        decorated = any(
            self._scopes.dotted(it.func if isinstance(it, ast.Call) else it, around) in DECORATORS
            for it in function.decorator_list
        )
        parameters = parameters_of(function)
        if decorated:
            self.workflow_code[function] = Origin(is_workflow=True)
            if parameters:
                self._tx.add((scope, parameters[0].arg))
        for it in parameters:
            if self._is_tx_type(it.annotation, around):
                self._tx.add((scope, it.arg))
                self.workflow_code.setdefault(function, Origin(is_workflow=False))

    def _begin_called(self, tree: ast.Module) -> None:
        """``transfer = flowtx.workflow(f)`` and ``flowtx.workflow(name="t")(f)`` declare workflows, too."""
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and len(node.args) == 1):
                continue
            func = node.func.func if isinstance(node.func, ast.Call) else node.func
            function = self.local_function(node.args[0])
            if function is None or self._scopes.dotted(func, self._scopes.of(node)) not in DECORATORS:
                continue
            self.workflow_code[function] = Origin(is_workflow=True)
            for it in parameters_of(function)[:1]:
                self._tx.add((self._scopes.opened_by(function), it.arg))

    def _begin_used(self, use: Use) -> None:
        """Take up a use that another file makes of a function of this one; ``use.name`` is its name here."""
        target = self._named(use.name)
        if target is None:
            return
        if use.is_step:
            self.steps.setdefault(target)
            return
        parameters = parameters_of(target)
        if self._scopes.class_of(target) is not None and not _is_static(target):
            parameters = parameters[1:]
        at: dict[int | str, str] = {it.arg: it.arg for it in parameters}
        at |= {i: it.arg for i, it in enumerate(parameters)}
        scope = self._scopes.opened_by(target)
        self._tx |= {(scope, at[it]) for it in use.tx_at if it in at}
        self._of_the_run |= {(scope, at[it]) for it in use.run_at if it in at}
        is_called = isinstance(target, ast.FunctionDef) and target not in self.steps
        if use.tx_at or use.run_at or is_called:
            self.workflow_code.setdefault(target, Origin(is_workflow=False, caller=use.caller))

    def _named(self, name: str) -> Function | None:
        """The function of this file that is called ``stamp`` or ``Order.is_late``; of a class what making it runs."""
        scope, (*holders, last) = self._scopes.module, name.split(".")
        for it in holders:
            match scope.names.get(it):
                case [Defined(node=ast.ClassDef() as home)]:
                    scope = self._scopes.opened_by(home)
                case _:
                    return None
        match scope.names.get(last):
            case [*_, Defined(node=ast.FunctionDef() | ast.AsyncFunctionDef() as found)]:
                return found
            case _:
                return None

    def _is_tx_type(self, annotation: ast.expr | None, scope: Scope) -> bool:
        annotation = spelled_out(annotation)
        if isinstance(annotation, ast.BinOp):
            return self._is_tx_type(annotation.left, scope) or self._is_tx_type(annotation.right, scope)
        return annotation is not None and self._scopes.dotted(annotation, scope) in TX_TYPES

    def _spread(self) -> None:
        known = -1
        while known != (known := self._size()):
            for function in list(self.workflow_code):
                self._follow_words(function)
            if known == self._size():  # only when every step is known can a direct call be told from one
                for function in list(self.workflow_code):
                    self._follow_plain_calls(function)

    def _size(self) -> int:
        return len(self.workflow_code) + len(self.steps) + len(self._tx) + len(self._of_the_run)

    def _follow_words(self, function: Function) -> None:
        for node in own_nodes(function):
            if isinstance(node, Function) and self._is_branch(node):
                self._reached(node, function)
            if not isinstance(node, ast.Call):
                continue
            for step in self.step_arguments(node)[0]:
                target = self.local_function(step)
                if target is not None:
                    self.steps.setdefault(target)
                elif (name := self.name_elsewhere(step)) is not None:
                    self.uses.add(Use(name=name, caller=function.name, is_step=True))
            word = self.word(node)
            callee, arguments = (node.func, node.args)
            if word in ("start_soon", "start") and node.args:
                callee, arguments = node.args[0], node.args[1:]
            target = self.local_function(callee)
            if target is not None:
                self._hand_over(target, arguments, node.keywords, function)
            elif (name := self.name_elsewhere(callee)) is not None:
                given: list[tuple[int | str, ast.expr]] = [*enumerate(arguments)]
                given += [(it.arg, it.value) for it in node.keywords if it.arg is not None]
                tx_at = frozenset(at for at, value in given if self.is_tx(value))
                run_at = frozenset(at for at, value in given if self.is_of_the_run(value))
                if tx_at or run_at:
                    self.uses.add(Use(name=name, caller=function.name, tx_at=tx_at, run_at=run_at))

    def _is_branch(self, nested: Function) -> bool:
        """True for a function in workflow code, unless the only use that is made of it is as a step."""
        return nested not in self.steps and not self._is_used_as_step(nested)

    def _is_used_as_step(self, nested: Function) -> bool:
        home = self._scopes.function_around(nested)
        calls = [it for it in ast.walk(home or nested) if isinstance(it, ast.Call)]
        return any(self.local_function(it) is nested for call in calls for it in self.step_arguments(call)[0])

    def _hand_over(
        self, target: Function, arguments: list[ast.expr], keywords: list[ast.keyword], caller: Function
    ) -> None:
        scope = self._scopes.opened_by(target)
        parameters = parameters_of(target)
        if self._scopes.class_of(target) is not None and not _is_static(target):
            parameters = parameters[1:]
        given = [(it.arg, value) for it, value in zip(parameters, arguments, strict=False)]
        given += [(it.arg, it.value) for it in keywords if it.arg is not None]
        for name, value in given:
            if self.is_tx(value):
                self._tx.add((scope, name))
                self._reached(target, caller)
            elif self.is_of_the_run(value):
                self._of_the_run.add((scope, name))
                self._reached(target, caller)

    def _follow_plain_calls(self, function: Function) -> None:
        for node in own_nodes(function):
            for called in self._called_by(node):
                target = self.local_function(called)
                if isinstance(target, ast.FunctionDef) and target not in self.steps:
                    self._reached(target, function)
                for method in self._run_by_making(called):
                    self._reached(method, function)
                if target is None and (name := self.name_elsewhere(called)) is not None:
                    self.uses.add(Use(name=name, caller=function.name))

    def _called_by(self, node: ast.AST) -> list[ast.expr]:
        """What a node calls: a function, those that one calls back, a property."""
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            return [node] if is_property(self.local_function(node)) else []
        if not isinstance(node, ast.Call):
            return []
        return [node.func, *called_back(self._scopes, node)]

    def _run_by_making(self, called: ast.expr) -> Iterator[Function]:
        """The methods that run when a class of this file is called."""
        if isinstance(called, ast.Name) and isinstance(home := self._scopes.class_behind(called), ast.ClassDef):
            if not any(isinstance(it, Defined) for it in (self._scopes.of(called).find(called.id) or (None, []))[1]):
                return  # an instance is called
            yield from (it for it in home.body if isinstance(it, Function) and it.name in _MAKING)

    def _reached(self, target: Function, caller: Function) -> None:
        if target is not caller:
            self.workflow_code.setdefault(target, Origin(is_workflow=False, caller=caller.name))


def _arguments_of(node: ast.expr) -> list[ast.expr]:
    return node.args if isinstance(node, ast.Call) else []


def _is_static(function: Function) -> bool:
    return any(isinstance(it, ast.Name) and it.id == "staticmethod" for it in function.decorator_list)
