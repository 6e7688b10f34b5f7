"""Quart as this server needs it: bodies that drain, paths with doubled slashes, connections that really end.

The law of this file: what is mended here is named, with what happens without it.
"""

from __future__ import annotations

from typing import Any

import trio
from quart.asgi import ASGIHTTPConnection
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers.request import TrioBody, TrioRequest


class DrainedBody(TrioBody):
    """A body that, once it is too long, is still read to its end but no longer kept."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(expected_content_length, max_content_length)
        self.ended = trio.Event()

    def set_complete(self) -> None:
        """Called when all of it has come, and by ``append`` when it becomes too long."""
        super().set_complete()
        if self._must_raise is None or not self._is_appending:
            self.ended.set()

    _is_appending = False

    def append(self, data: bytes) -> None:
        """Take the next part."""
        self._is_appending = True
        super().append(data)
        self._is_appending = False
        if self._must_raise is not None:
            self.clear()


class DrainedRequest(TrioRequest):
    """A request with such a body."""

    body_class = DrainedBody


class Connection(TrioASGIHTTPConnection):
    """One request and its answer, which nothing but the client's going away cuts short.

    Hypercorn says "disconnected" to the application while it sends the end of an answer. Quart-Trio takes that for the
    client's hanging up and cancels the sending task in the middle of Hypercorn's own work, after which the connection
    is neither closed when the client asked for it, nor ever when it idles.
    """

    _is_answering = False

    async def handle_messages(self, nursery: trio.Nursery, request: Any, receive: Any) -> None:  # type: ignore[override]  # Quart-Trio's own form
        """Pass on what comes in until the client is gone."""
        await ASGIHTTPConnection.handle_messages(self, request, receive)
        if not self._is_answering:
            nursery.cancel_scope.cancel()

    async def _send_response(self, send: Any, response: Any) -> None:
        self._is_answering = True
        await super()._send_response(send, response)


class DtmApp(QuartTrio):
    """Quart, with doubled slashes in paths read as one: some clients build them (a base URL that ends in a slash)."""

    request_class = DrainedRequest
    asgi_http_class = Connection

    async def asgi_app(self, scope: Any, receive: Any, send: Any) -> None:
        """One connection of the server; as Quart's, with the path straightened."""
        if scope["type"] == "http" and "//" in scope["path"]:
            scope = {**scope, "path": straight_path(scope["path"])}
        await super().asgi_app(scope, receive, send)


def straight_path(path: str) -> str:
    """A path with every run of slashes as one."""
    while "//" in path:
        path = path.replace("//", "/")
    return path
