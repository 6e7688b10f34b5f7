"""What an outgoing gRPC call is, and what comes of it; nothing here needs the library.

Law: a call ends with a status, the participant's own or, when nobody was reached, one that the library made up; or with
a ``GrpcFault`` when it could not even be tried. Judging a status belongs to the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcRequest:
    """One unary call: ``method`` is ``/package.Service/Method``, ``body`` the serialized message.

    Metadata names are in lower case; values are text, those of names that end in ``-bin`` are bytes.
    """

    host: str
    method: str
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcResponse:
    """How a call ended: ``status`` by its name (``OK``, ``ABORTED``, ...), ``body`` the reply when it is OK."""

    status: str
    details: str = ""
    body: bytes = b""


class GrpcFault(Exception):
    """The call could not be tried, or its reply not be read; the text says what is wrong with it."""


class ReplyTooLong(GrpcFault):
    """The participant succeeded, and its reply is longer than the transport takes."""


class GrpcTransport(Protocol):
    """Anything that can carry a ``GrpcRequest`` to its participant and bring the ``GrpcResponse`` back."""

    async def call(self, request: GrpcRequest, *, timeout_s: float) -> GrpcResponse:
        """Make the call; the participant is told that it has ``timeout_s`` seconds.

        Raises ``GrpcFault`` when it could not be tried, ``ReplyTooLong`` when its reply cannot be taken.
        """
        ...
