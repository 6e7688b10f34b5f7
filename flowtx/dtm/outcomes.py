"""What becomes of an operation: one of five situations, which every transport spells in its own way.

The law of this file: the table of spec 2.2, and nothing of any transport.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Done(msgspec.Struct, frozen=True):
    """It was done; ``value`` is what to answer (anything ``msgspec`` encodes), None when there is nothing to say."""

    value: object = None


class DtmFailure(msgspec.Struct, frozen=True):
    """A final "no": 409 over HTTP, ABORTED over gRPC."""

    message: str


class DtmOngoing(msgspec.Struct, frozen=True):
    """Not finished, ask again: 425 over HTTP, FAILED_PRECONDITION over gRPC."""

    message: str


class DtmError(msgspec.Struct, frozen=True):
    """Anything else; ``kind`` is "overloaded" when a limit or a shutdown is why, and coming back later helps."""

    message: str
    kind: Literal["error", "overloaded"] = "error"


Outcome = Done | DtmFailure | DtmOngoing | DtmError
