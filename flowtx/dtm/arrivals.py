"""What a request brought besides itself: the trace it belongs to (W3C Trace Context, spec 12.43).

The law of this file: it belongs to the task that answers the request. What is no traceparent is none.
"""

from __future__ import annotations

import re
from contextvars import ContextVar

_SHAPE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

_traceparent: ContextVar[str] = ContextVar("flowtx_arrived_traceparent", default="")


def arrive(traceparent: str) -> None:
    """The request that this task answers came with this header."""
    _traceparent.set(traceparent if _SHAPE.fullmatch(traceparent) else "")


def arrived_traceparent() -> str:
    """The trace that the request belongs to, "" for none."""
    return _traceparent.get()
