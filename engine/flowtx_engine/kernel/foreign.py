"""What is foreign to a workflow: finding where it was used, and keeping event loops out of its sight.

The law of this file: a workflow that uses trio, asyncio or any other way to wait than the words of ``tx`` fails at once
with the line to change, and harms nobody else. Trio is known by the name of its module alone and never imported.
"""

from __future__ import annotations

import inspect
import re
import sys
import sysconfig
from collections.abc import Coroutine
from types import CodeType, TracebackType

from flowtx_dsl.errors import ForeignAwaitError

Place = tuple[CodeType, int]
"""A function and the line in it."""
Hidden = tuple[dict[str, object], object]
"""Where trio notes the running task, and the task."""

# The longest first, because what is installed often stands inside the folder of the standard library.
_modules = sys.modules
_LIBRARIES = sorted(
    {f"{sysconfig.get_path(kind)}/" for kind in ("stdlib", "purelib", "platlib")}, key=len, reverse=True
)
_KERNEL = __file__.rpartition("foreign")[0]
_DUNDER = re.compile(r"\.__\w+__$")
_LOOPS = ("trio", "asyncio", "anyio", "sniffio")


def hide_loop() -> Hidden | None:
    """Take trio's note of the running task away while workflow code runs; hand what this returns to ``show_loop``.

    A nursery or a cancel scope is opened without a wait that the kernel could refuse: it would be opened in the
    driver's own task, left open when the workflow waits, and bring the whole event loop down. Without the note trio
    raises instead.
    """
    run = _modules.get("trio._core._run")
    if run is None:
        return None
    notes: dict[str, object] = run.GLOBAL_RUN_CONTEXT.__dict__
    task = notes.pop("task", None)
    return None if task is None else (notes, task)


def show_loop(hidden: Hidden | None) -> None:
    """Put back what ``hide_loop`` took away."""
    if hidden is not None:
        hidden[0]["task"] = hidden[1]


def foreign_await(run: str, coro: Coroutine[object, object, object]) -> ForeignAwaitError:
    """The error for a coroutine that is suspended in something that is not a word of ``tx``."""
    chain, awaited = _suspended_in(coro)
    otherwise = "something" if awaited is None else f"an object of type {type(awaited).__qualname__}"
    return _foreign(run, "awaited", chain, otherwise)


def foreign_call(run: str, error: BaseException) -> ForeignAwaitError | None:
    """The error for what a workflow got from an event loop that it cannot use; None for every other error."""
    if not isinstance(error, RuntimeError | AttributeError):
        return None
    chain = _raised_in(error.__traceback__)
    if not chain or _library_of(chain[-1][0]) not in _LOOPS:
        return None
    found = _foreign(run, "used", chain, "an event loop")
    found.__cause__ = error
    return found


def _foreign(run: str, verb: str, chain: list[Place], otherwise: str) -> ForeignAwaitError:
    """Names the last line that is the author's own, and what was used there."""
    mine = ("", _library_of(chain[0][0]))  # the workflow itself may be installed, too
    last = max(i for i, (code, _) in enumerate(chain) if _library_of(code) in mine)
    code, line = chain[last]
    what = _spell(chain[last + 1][0]) if last + 1 < len(chain) else otherwise
    return ForeignAwaitError(
        f"{run} {verb} {what} at {code.co_filename}:{line} (in {code.co_qualname}); "
        "in a workflow only the words of tx wait"
    )


def _suspended_in(coro: Coroutine[object, object, object]) -> tuple[list[Place], object]:
    """The functions that wait, outermost first, and what the innermost of them awaits."""
    chain: list[Place] = []
    inner: object = coro
    while True:
        if inspect.iscoroutine(inner):
            chain.append((inner.cr_code, inner.cr_frame.f_lineno if inner.cr_frame is not None else 0))
            inner = inner.cr_await
        elif inspect.isgenerator(inner):
            chain.append((inner.gi_code, inner.gi_frame.f_lineno if inner.gi_frame is not None else 0))
            inner = inner.gi_yieldfrom
        else:
            return chain, inner


def _raised_in(traceback: TracebackType | None) -> list[Place]:
    """The functions an exception came through, outermost first, without the kernel itself."""
    chain: list[Place] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if chain or not code.co_filename.startswith(_KERNEL):
            chain.append((code, traceback.tb_lineno))
        traceback = traceback.tb_next
    return chain


def _library_of(code: CodeType) -> str:
    """The installed library that code belongs to, such as ``trio`` or ``asyncio``; "" for the author's own code."""
    path = code.co_filename
    for library in _LIBRARIES:
        if path.startswith(library):
            return path.removeprefix(library).split("/")[0].removesuffix(".py")
    return ""


def _spell(code: CodeType) -> str:
    module = _library_of(code) or inspect.getmodulename(code.co_filename) or "?"
    return f"{module}.{_DUNDER.sub('', code.co_qualname)}"
