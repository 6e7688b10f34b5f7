"""What can be wrong with a request, in the words its sender gets to read."""

from flowtx_dsl.errors import FlowtxError


class RequestError(FlowtxError):
    """The request cannot be understood or not be carried out by anybody; nothing was stored."""


class UndecodableError(RequestError):
    """The body of registerBranch is no flat JSON object of texts."""
