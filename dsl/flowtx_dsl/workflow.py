"""Workflow: a coroutine function declared to be a transaction.

The law of this file: whatever is wrong with a declaration is said when it is declared, with the line to change.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import cached_property, update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.limits import Limit
from flowtx_dsl.signatures import Signature
from flowtx_dsl.targets import OfWorkflow
from flowtx_dsl.tx import Tx

T = TypeVar("T")
P = ParamSpec("P")

NAME_MAX = 128
"""The longest name and version of a workflow, in characters."""


class Workflow(Generic[P, T]):
    """A transaction's code: its name and version in the journal, and the coroutine function to run.

    Called directly, ``await transfer(tx, t)`` inside another workflow, it is an ordinary helper of that workflow.
    """

    def __init__(
        self,
        fn: Callable[Concatenate[Tx, P], Coroutine[Any, Any, T]],
        *,
        name: str,
        version: str,
        limit: Limit | None = None,
    ) -> None:
        _check(fn, name, version)
        self.fn = fn
        self.name = name
        self.version = version
        self.limit = limit
        update_wrapper(self, fn)

    def __call__(self, tx: Tx, /, *args: P.args, **kwargs: P.kwargs) -> OfWorkflow[T]:
        """The coroutine itself, for use as a helper of another workflow."""
        return cast("OfWorkflow[T]", self.fn(tx, *args, **kwargs))

    @cached_property
    def signature(self) -> Signature:
        """How its input and result travel; made at first use, because annotations may name what is defined later."""
        return Signature(self.fn, skip=1, name=f"workflow {self.name}")

    @property
    def where(self) -> str:
        """The source line of its definition."""
        code = getattr(inspect.unwrap(self.fn), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else "unknown line"

    def __repr__(self) -> str:
        return f"<Workflow {self.name} version {self.version} at {self.where}>"


AnyWorkflow = Workflow[..., Any]
"""A workflow whose input and result are not known."""


def must_be_workflow(value: object, word: str) -> AnyWorkflow:
    """The workflow that ``word`` was given; raises ``WorkflowError`` for anything else."""
    if isinstance(value, Workflow):
        return cast("AnyWorkflow", value)
    name = getattr(value, "__qualname__", None) or repr(value)
    raise WorkflowError(
        f"{word} takes a workflow, got {name}",
        remedy="Declare it with @flowtx.workflow, and pass it without calling it.",
    )


def _check(fn: Callable[..., object], name: str, version: object) -> None:
    if inspect.isasyncgenfunction(fn):
        raise WorkflowError(
            f"workflow {name} is an async generator: {fn!r}",
            remedy="A workflow returns one result and yields nothing; put what yields into a helper that takes tx.",
        )
    if not inspect.iscoroutinefunction(fn):
        raise WorkflowError(
            f"workflow {name} is not an async function: {fn!r}", remedy="Declare it with `async def`, and tx first."
        )
    if not 0 < len(name) <= NAME_MAX:
        raise WorkflowError(f"a workflow's name has 1 to {NAME_MAX} characters, got {name!r}")
    if not isinstance(version, str) or not 0 < len(version) <= NAME_MAX:
        raise WorkflowError(f"workflow {name}: a version is a text of 1 to {NAME_MAX} characters, got {version!r}")
    params = list(inspect.signature(fn).parameters.values())
    remedy = f"Let tx be its first parameter: async def {name}(tx: flowtx.Tx, ...)."
    if not params or params[0].kind not in (params[0].POSITIONAL_ONLY, params[0].POSITIONAL_OR_KEYWORD):
        raise WorkflowError(f"workflow {name} takes no tx", remedy=remedy)
    first = params[0]
    if first.name != "tx" and first.annotation not in (Tx, "Tx", "flowtx.Tx"):
        raise WorkflowError(f"the first parameter of workflow {name} is {first.name!r}, expected tx", remedy=remedy)
    for param in params:
        if param.kind is param.KEYWORD_ONLY and param.default is param.empty:
            raise WorkflowError(
                f"workflow {name} needs the keyword argument {param.name!r}, but its input travels by position only",
                remedy=f"Make {param.name!r} positional, or give it a default.",
            )


@overload
def workflow(fn: Callable[Concatenate[Tx, P], Coroutine[Any, Any, T]], /) -> Workflow[P, T]: ...
@overload
def workflow(
    *, name: str = "", version: str = "1", limit: Limit | None = None
) -> Callable[[Callable[Concatenate[Tx, P], Coroutine[Any, Any, T]]], Workflow[P, T]]: ...
def workflow(
    fn: Callable[Concatenate[Tx, P], Coroutine[Any, Any, T]] | None = None,
    /,
    *,
    name: str = "",
    version: str = "1",
    limit: Limit | None = None,
) -> object:
    """Declare an async function ``(tx, *input) -> result`` to be a workflow.

    ``name`` is what the journal calls it (default: the function's name), ``version`` tells apart what runs in flight
    began with; several versions of one name can be loaded side by side. ``limit`` holds back runs that are too many at
    once, on all nodes together. Raises ``WorkflowError`` when the function cannot be one.
    """

    def declare(fn: Callable[Concatenate[Tx, P], Coroutine[Any, Any, T]]) -> Workflow[P, T]:
        return Workflow(fn, name=name or getattr(fn, "__name__", ""), version=version, limit=limit)

    return declare if fn is None else declare(fn)
