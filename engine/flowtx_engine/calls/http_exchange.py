"""One request and its response over one connection.

Law: bytes are received whether or not all were sent, because a participant may answer (413, 503) before it has read the
whole request, and may even wait for its answer to be read before it reads on.
"""

from __future__ import annotations

import trio

from flowtx_engine.calls.http_connection import describe
from flowtx_engine.calls.http_response import ResponseParser
from flowtx_engine.calls.http_types import HttpFault, HttpResponse

# What surely fits into the buffers between two ends, so that sending it cannot wait for the other side to read.
_SENT_AT_ONCE_MAX = 65536


class BrokenExchangeError(Exception):
    """No response was had. `phase` is where it failed: "send to" or "receive from"; the text says how.

    `is_begun` tells whether any byte of an answer had come.
    """

    def __init__(self, phase: str, text: str, *, is_begun: bool) -> None:
        super().__init__(text)
        self.phase = phase
        self.is_begun = is_begun


async def exchange(stream: trio.abc.Stream, request: bytes, parser: ResponseParser) -> HttpResponse:
    """Send `request` and return the response, read by `parser`, which then tells whether `stream` can be used again.

    Raises `BrokenExchangeError` when the connection fails or when what comes is not an HTTP response.
    """
    sender = _Sender(stream, request)
    if len(request) > _SENT_AT_ONCE_MAX:
        response = await _exchange_both_ways(stream, sender, parser)
    else:
        await sender.send()
        response = await _receive(stream, sender, parser)
    if not sender.is_done:
        parser.is_reusable = False
    return response


async def _exchange_both_ways(stream: trio.abc.Stream, sender: _Sender, parser: ResponseParser) -> HttpResponse:
    # What fails is kept and raised outside: a nursery would wrap it into a group.
    outcome: HttpResponse | BrokenExchangeError
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.send)
        try:
            outcome = await _receive(stream, sender, parser)
        except BrokenExchangeError as error:
            outcome = error
        nursery.cancel_scope.cancel()
    if isinstance(outcome, BrokenExchangeError):
        raise outcome
    return outcome


class _Sender:
    """Sends a request, and keeps what became of that instead of raising it, for there may be an answer all the same."""

    __slots__ = ("_request", "_stream", "failed", "is_done")

    def __init__(self, stream: trio.abc.Stream, request: bytes) -> None:
        self.is_done = False
        self.failed: trio.BrokenResourceError | None = None
        self._stream = stream
        self._request = request

    async def send(self) -> None:
        try:
            await self._stream.send_all(self._request)
        except trio.BrokenResourceError as error:
            self.failed = error
        else:
            self.is_done = True


async def _receive(stream: trio.abc.Stream, sender: _Sender, parser: ResponseParser) -> HttpResponse:
    try:
        while not parser.is_complete:
            data = await stream.receive_some()
            if data:
                parser.feed(data)
            else:
                parser.feed_end()
        return parser.response()
    except (trio.BrokenResourceError, HttpFault) as error:
        # A request that could not be sent explains an answer that did not come, not one that makes no sense.
        failed = sender.failed if not parser.is_complete else None
        phase = "receive from" if failed is None else "send to"
        cause = failed or error
        text = str(cause) if isinstance(cause, HttpFault) else f"the connection broke ({describe(cause)})"
        raise BrokenExchangeError(phase, text, is_begun=parser.is_begun) from cause
