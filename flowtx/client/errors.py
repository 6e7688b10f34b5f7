"""What can go wrong for a service that takes part: each situation a class, with what to do about it.

The law of this file: none of these is a participant's "no" (``flowtx.Refused``). A server's 409 is not one either:
it says that a request was not carried out, and a waiting submit gets it while the transaction is still being driven.
"""

from __future__ import annotations

from flowtx_dsl.errors import FlowtxError


class BarrierError(FlowtxError):
    """A barrier cannot be made, or cannot be used on this connection; the business function did not count."""


class Duplicated(FlowtxError):
    """A message's local transaction was done before, or was given up by a query; nothing was done now (spec 9.2)."""

    remedy = "Send each message under a gid of its own; ask the server what became of this one."


class BranchIdError(FlowtxError):
    """No further branch id can be made here (spec 10)."""


class XaError(FlowtxError):
    """A database cannot take part in an xa transaction this way; the business function did not count."""


class ClientError(FlowtxError):
    """The server did not do what was asked."""


class ServerUnreachable(ClientError):
    """No whole answer was had, so nobody knows whether the server acted."""

    remedy = "Repeat the call with the same gid: the server keeps one transaction for it."


class ServerError(ClientError):
    """The server answered something else than success; ``status`` and ``body`` are its answer."""

    def __init__(self, message: str, *, status: int, body: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class ServerRefused(ServerError):
    """The server answered FAILURE: the call is not allowed now, or a waited-for transaction did not succeed (yet)."""

    remedy = "Query the gid: its status says whether it failed, is being compensated, or still goes on."


class BranchFault(ClientError):
    """A participant gave no usable answer, so nobody knows whether it acted; ``status`` is 0 where there was none.

    Its "no" and its "not yet" are ``flowtx.Refused`` and ``flowtx.Ongoing``, as in a workflow of flowtx.
    """

    def __init__(self, message: str, *, status: int = 0, body: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class ServerOngoing(ServerError):
    """The server answered ONGOING: a waited-for transaction is not finished."""

    remedy = "Query the gid later; the server goes on by itself."
