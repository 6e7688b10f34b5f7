"""gRPC's status codes, by number, as far as the client tells them apart; the library is not needed for them."""

from __future__ import annotations

_NAMES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)

OK = _NAMES.index("OK")
ABORTED = _NAMES.index("ABORTED")
FAILED_PRECONDITION = _NAMES.index("FAILED_PRECONDITION")
NO_ANSWER = tuple(_NAMES.index(name) for name in ("CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE"))
"""What the library says where no server did: nobody knows whether the call was carried out."""


def code_name(code: int) -> str:
    """A code in words."""
    return _NAMES[code] if 0 <= code < len(_NAMES) else f"status {code}"
