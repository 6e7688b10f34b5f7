"""Finding the source line of a foreign await, to say what to write instead."""

from __future__ import annotations

import inspect
import sysconfig
from collections.abc import Coroutine
from types import CodeType

from flowtx_dsl.errors import ForeignAwaitError

_LIBRARIES = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})


def foreign_await(run: str, coro: Coroutine[object, object, object]) -> ForeignAwaitError:
    """The error for a coroutine that is suspended in something that is not a word of ``tx``."""
    chain = _suspended_in(coro)
    mine = [(code, line) for code, line in chain if not code.co_filename.startswith(_LIBRARIES)]
    code, line = (mine or chain)[-1]
    awaited = chain[-1][0]
    what = _spell(awaited) if awaited is not code else "something"
    return ForeignAwaitError(
        f"{run} awaited {what} at {code.co_filename}:{line} (in {code.co_qualname}); "
        "only the words of tx can be awaited in a workflow"
    )


def _suspended_in(coro: Coroutine[object, object, object]) -> list[tuple[CodeType, int]]:
    """The code and line of each coroutine that waits, outermost first."""
    chain: list[tuple[CodeType, int]] = []
    inner: object = coro
    while inspect.iscoroutine(inner):
        frame = inner.cr_frame
        chain.append((inner.cr_code, frame.f_lineno if frame is not None else 0))
        inner = inner.cr_await
    return chain


def _spell(code: CodeType) -> str:
    module = inspect.getmodulename(code.co_filename) or "?"
    for part in ("trio", "asyncio", "anyio"):
        if f"/{part}/" in code.co_filename:
            module = part
    return f"{module}.{code.co_qualname}"
