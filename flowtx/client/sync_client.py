"""The DTM client for threads: the exchanges of ``exchanges.py`` over the standard library's HTTP.

The law of this file: one connection a request, so that the client can be shared by threads and no request meets a
connection that the server has just closed. Nothing is repeated here: repeating is the caller's decision.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from flowtx.client.errors import ServerUnreachable
from flowtx.client.exchanges import ClientAnswer, ClientRequest, Exchange, Exchanges, FoundTransaction
from flowtx.client.saga import Saga

T = TypeVar("T")

ANSWER_MAX = 16 * 1024 * 1024
"""The longest answer that is read, in bytes."""

Send = Callable[[ClientRequest], ClientAnswer]


class DtmClient:
    """Hands transactions to a DTM server, flowtx or another. For threads; ``AsyncDtmClient`` is for trio and asyncio.

    ``url`` is like ``http://localhost:36789``; ``timeout_s`` is the longest wait for a sign of life of the server.
    Environment variables for proxies are not read. Every method raises ``ServerUnreachable`` when no whole answer was
    had, and ``ServerRefused``, ``ServerOngoing`` or another ``ServerError`` for what was not success (spec 10).
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0, send: Send | None = None) -> None:
        """``send`` carries requests some other way; raises ``ClientError`` for an address that is none."""
        self._exchanges = Exchanges(url, timeout_s=timeout_s)
        self._send = send or send_http

    def __repr__(self) -> str:
        return f"<DtmClient of {self._exchanges.base}>"

    def new_gid(self) -> str:
        """A gid that nobody has; two calls never give the same."""
        return self._run(self._exchanges.new_gid())

    def submit(self, saga: Saga) -> None:
        """Hand a saga over: when this returns the server has it, and with ``wait_result`` it has succeeded.

        Repeating it is harmless: one gid is one transaction. With ``wait_result`` a ``ServerRefused`` says only that
        the saga has not succeeded; ``query`` tells whether it failed or goes on (spec 4.8).
        """
        self._run(self._exchanges.submit(saga))

    def query(self, gid: str) -> FoundTransaction | None:
        """What the server has under a gid; None where it has nothing."""
        return self._run(self._exchanges.query(gid))

    def force_stop(self, gid: str) -> None:
        """End a transaction as failed, whatever was done for it; nothing is compensated."""
        self._run(self._exchanges.force_stop(gid))

    def _run(self, exchange: Exchange[T]) -> T:
        try:
            request = next(exchange)
            while True:
                try:
                    answer = self._send(request)
                except ServerUnreachable as error:
                    request = exchange.throw(error)
                else:
                    request = exchange.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result


def send_http(request: ClientRequest) -> ClientAnswer:
    """Send one request on a connection of its own; raises ``ServerUnreachable``."""
    parts = urlsplit(request.url)
    assert parts.hostname is not None, request.url
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname, parts.port, timeout=request.timeout_s)
        try:
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
            headers = {"Content-Type": "application/json"} if request.body else {}
            connection.request(request.method, target, body=request.body or None, headers=headers)
            response = connection.getresponse()
            body = response.read(ANSWER_MAX + 1)
            # Asked for so many bytes, http.client takes fewer for the end; what it still expected tells.
            if len(body) <= ANSWER_MAX and response.length:
                raise http.client.IncompleteRead(body, response.length)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(request, error) from error
    if len(body) > ANSWER_MAX:
        raise too_long(request)
    return ClientAnswer(status=response.status, body=body)


def unreachable(request: ClientRequest, error: Exception) -> ServerUnreachable:
    """The error for a request without a whole answer."""
    why = str(error) or type(error).__name__
    return ServerUnreachable(f"{request.method} {request.url} had no whole answer: {why}")


def too_long(request: ClientRequest) -> ServerUnreachable:
    """The error for an answer that is not read to its end."""
    return ServerUnreachable(f"{request.method} {request.url} was answered with more than {ANSWER_MAX} bytes")
