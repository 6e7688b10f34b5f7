"""One request and its response over one connection.

Law: bytes are received whether or not all were sent, because a participant may answer (413, 503) before it has read the
whole request, and may even wait for its answer to be read before it reads on.
"""

from __future__ import annotations

import trio

from flowtx_engine.calls.http_connection import describe
from flowtx_engine.calls.http_response import ResponseParser
from flowtx_engine.calls.http_types import HttpFault

# What surely fits into the buffers between two ends, so that sending it cannot wait for the other side to read.
_SENT_AT_ONCE_MAX = 65536


class BrokenExchangeError(Exception):
    """The connection failed; the text says in which phase and how. `is_begun` tells whether any answer had come."""

    def __init__(self, text: str, *, is_begun: bool) -> None:
        super().__init__(text)
        self.is_begun = is_begun


async def exchange(stream: trio.abc.Stream, request: bytes, parser: ResponseParser) -> bool:
    """Send `request`, feed what comes to `parser` until it is complete; return whether all of the request was sent.

    Raises `BrokenExchangeError` when the connection fails, `HttpFault` when what comes is not an HTTP response.
    """
    if len(request) > _SENT_AT_ONCE_MAX:
        return await _exchange_both_ways(stream, request, parser)
    sending_failed = None
    try:
        await stream.send_all(request)
    except trio.BrokenResourceError as error:
        sending_failed = error
    await _receive(stream, parser, sending_failed)
    return sending_failed is None


async def _exchange_both_ways(stream: trio.abc.Stream, request: bytes, parser: ResponseParser) -> bool:
    sender = _Sender()
    failed: BrokenExchangeError | HttpFault | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.send_all, stream, request)
        try:
            await _receive(stream, parser, None)
        except (BrokenExchangeError, HttpFault) as error:
            failed = error
        nursery.cancel_scope.cancel()
    if sender.failed is not None and isinstance(failed, BrokenExchangeError):
        raise _broken("send", sender.failed, parser) from sender.failed
    if failed is not None:
        raise failed
    return sender.is_done


class _Sender:
    """Sends in a task of its own and keeps what became of it."""

    def __init__(self) -> None:
        self.is_done = False
        self.failed: trio.BrokenResourceError | None = None

    async def send_all(self, stream: trio.abc.Stream, request: bytes) -> None:
        try:
            await stream.send_all(request)
        except trio.BrokenResourceError as error:
            self.failed = error
        else:
            self.is_done = True


async def _receive(
    stream: trio.abc.Stream, parser: ResponseParser, sending_failed: trio.BrokenResourceError | None
) -> None:
    while not parser.is_complete:
        try:
            data = await stream.receive_some()
        except trio.BrokenResourceError as error:
            if sending_failed is not None:
                raise _broken("send", sending_failed, parser) from error
            raise _broken("receive", error, parser) from error
        if data:
            parser.feed(data)
        elif sending_failed is not None and not parser.is_begun:
            raise _broken("send", sending_failed, parser) from sending_failed
        else:
            _feed_end(parser)


def _feed_end(parser: ResponseParser) -> None:
    try:
        parser.feed_end()
    except HttpFault as fault:
        raise BrokenExchangeError(f"receive: {fault}", is_begun=parser.is_begun) from fault


def _broken(phase: str, error: trio.BrokenResourceError, parser: ResponseParser) -> BrokenExchangeError:
    return BrokenExchangeError(f"{phase}: the connection broke ({describe(error)})", is_begun=parser.is_begun)
