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
    """A final "no": 409 over HTTP, ABORTED over gRPC.

    With ``status`` it is not final: the transaction that ``wait_result`` waited for is there, and goes on (spec 4.8).
    """

    message: str
    status: str = ""


class DtmOngoing(msgspec.Struct, frozen=True):
    """Not finished, ask again: 425 over HTTP, FAILED_PRECONDITION over gRPC."""

    message: str


class DtmError(msgspec.Struct, frozen=True):
    """Anything else; ``kind`` says why.

    "overloaded": a limit or a shutdown, and coming back later helps. "crash": where DTM's handler crashes, because the
    request cannot be carried out or the database failed; JSON-RPC and gRPC tell it from an "error" (spec 2.6, 2.7).
    "undecodable": the body of registerBranch is not what it must be, for which DTM has a status of its own (12.46).
    """

    message: str
    kind: Literal["error", "crash", "undecodable", "overloaded"] = "error"


Outcome = Done | DtmFailure | DtmOngoing | DtmError
