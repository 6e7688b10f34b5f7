"""Headers that a call carries besides those of its target: who watches the engine passes a trace on with them.

The law of this file: they belong to the task that makes the call, and to nobody else.
"""

from __future__ import annotations

from contextvars import ContextVar

Headers = tuple[tuple[str, str], ...]

_passed: ContextVar[Headers] = ContextVar("flowtx_passed_headers", default=())


def pass_on(headers: Headers) -> None:
    """Calls of this task carry these headers from now on, where their target does not name them itself."""
    _passed.set(headers)


def passed_beside(own: Headers) -> Headers:
    """What is passed on, without what ``own`` names itself."""
    passed = _passed.get()
    if not passed:
        return ()
    given = {name.lower() for name, _ in own}
    return tuple(header for header in passed if header[0].lower() not in given)
