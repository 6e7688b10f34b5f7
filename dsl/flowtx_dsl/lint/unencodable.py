"""Types that no journal can hold, found in annotations.

The law of this file: only what is surely wrong is told; a type from another file may well be a model. A test holds the
table against the codec itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from flowtx_dsl.lint.bindings import Defined
from flowtx_dsl.lint.scopes import Scope, Scopes
from flowtx_dsl.lint.syntax import spelled_out

_FUNCTIONS = "a function cannot be written down: pass what it should decide by"
_STREAMS = "what is still to come cannot be written down: pass a list"
_HANDLES = "it is a handle of this process: pass its name, path or address and open it in the step"
_TASKS = "it is bound to this process: create it inside the step"
_CODE = "it is a piece of the program: pass a name or a value"
_NUMBERS = "JSON has nothing for it: pass numbers"


def _under(module: str, names: str) -> list[str]:
    return [f"{module}.{name}" for name in names.split()]


_ABSTRACT_STREAMS = "Generator AsyncGenerator Iterator AsyncIterator AsyncIterable Coroutine Awaitable"

TYPES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            [
                *_under("typing", "Callable"),
                *_under("collections.abc", "Callable"),
                *_under("types", "FunctionType LambdaType MethodType BuiltinFunctionType"),
                *("functools.partial",),
            ],
            _FUNCTIONS,
        ),
        **dict.fromkeys(
            [
                *_under("typing", _ABSTRACT_STREAMS),
                *_under("collections.abc", _ABSTRACT_STREAMS),
                *_under("types", "GeneratorType CoroutineType"),
            ],
            _STREAMS,
        ),
        **dict.fromkeys(
            [
                *_under("typing", "IO TextIO BinaryIO"),
                *_under("io", "StringIO BytesIO TextIOWrapper BufferedReader FileIO"),
                *_under("pathlib", "Path PurePath PosixPath PurePosixPath"),
                *_under("socket", "socket"),
                *_under("ssl", "SSLContext SSLSocket"),
                *_under("sqlite3", "Connection Cursor Row"),
                *_under("subprocess", "Popen CompletedProcess"),
                *_under("http.client", "HTTPConnection HTTPResponse"),
                *_under("httpx", "Client AsyncClient Response Request"),
                *_under("requests", "Session Response Request"),
                *_under("sqlalchemy", "Engine Connection"),
                *_under("sqlalchemy.orm", "Session"),
                *_under("sqlalchemy.ext.asyncio", "AsyncSession AsyncEngine AsyncConnection"),
                *_under("logging", "Logger LoggerAdapter"),
            ],
            _HANDLES,
        ),
        **dict.fromkeys(
            [
                *_under("threading", "Lock RLock Thread Event Condition Semaphore local"),
                *_under("asyncio", "Lock Event Task Future Queue AbstractEventLoop"),
                *_under("trio", "Nursery CancelScope Event Lock Semaphore CapacityLimiter"),
                *_under("concurrent.futures", "Future Executor ThreadPoolExecutor"),
                *_under("contextvars", "Context ContextVar"),
                *_under("contextlib", "ExitStack AsyncExitStack"),
                *_under("random", "Random"),
                *_under("queue", "Queue"),
            ],
            _TASKS,
        ),
        **dict.fromkeys(
            [
                *_under("builtins", "type property slice range Exception BaseException ValueError RuntimeError"),
                *_under("types", "ModuleType FrameType TracebackType CodeType"),
                *_under("re", "Pattern Match"),
                *_under("datetime", "tzinfo timezone"),
                *_under("zoneinfo", "ZoneInfo"),
            ],
            _CODE,
        ),
        **dict.fromkeys(["builtins.complex", "fractions.Fraction"], _NUMBERS),
    }
)
"""Types that cannot be journaled, and why."""

_PLAIN_BASES = {"builtins.object", "abc.ABC", "typing.Generic", "typing.Protocol"}
_MODEL_METHODS = {"model_validate_json", "__get_pydantic_core_schema__"}


def unencodable_parts(scopes: Scopes, annotation: ast.expr) -> Iterator[tuple[str, str]]:
    """The parts of an annotation that cannot be journaled: what each is called, and why it cannot."""
    scope = scopes.of(annotation)
    for part in _parts(annotation, scopes, scope):
        name = scopes.dotted(part, scope)
        if name is not None and name in TYPES:
            yield ast.unparse(part), TYPES[name]
        elif isinstance(part, ast.Name) and (home := _plain_class(part, scopes, scope)) is not None:
            yield home.name, "it is a plain class, of which nothing can be journaled: make it a dataclass or a model"


def _parts(annotation: ast.expr, scopes: Scopes, scope: Scope) -> Iterator[ast.expr]:
    """The names in an annotation, outermost first; what a Literal or the rest of an Annotated says are no types."""
    ahead = [annotation]
    while ahead:
        node = spelled_out(ahead.pop())
        match node:
            case ast.Name() | ast.Attribute():
                yield node
            case ast.Subscript(value=value, slice=inner):
                last = (scopes.dotted(value, scope) or "").rpartition(".")[2]
                yield value
                if last in ("Literal", "Callable"):
                    continue
                elements = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                ahead += reversed(elements[:1] if last == "Annotated" else elements)
            case ast.BinOp(left=left, right=right):
                ahead += [right, left]
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                ahead += reversed(elements)
            case _:
                pass


def _plain_class(name: ast.Name, scopes: Scopes, scope: Scope) -> ast.ClassDef | None:
    """The class of this file that a name means, when nothing can be journaled of it."""
    found = scope.find(name.id)
    home = found[1][-1] if found and found[1] else None
    node = home.node if isinstance(home, Defined) else None
    if not isinstance(node, ast.ClassDef) or node.decorator_list or node.keywords:
        return None
    if any(isinstance(it, ast.FunctionDef) and it.name in _MODEL_METHODS for it in node.body):
        return None
    bases = [it.value if isinstance(it, ast.Subscript) else it for it in node.bases]
    plain = all(scopes.dotted(it, scopes.of(node)) in _PLAIN_BASES for it in bases)
    return node if plain else None
