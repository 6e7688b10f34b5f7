"""Quart as this server needs it: bodies that drain, paths with doubled slashes, connections that really end.

The law of this file: what is mended here is named, with what happens without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import trio
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers.request import TrioBody, TrioRequest
from werkzeug.exceptions import RequestEntityTooLarge

from flowtx.dtm.arrivals import arrive

Served = Callable[[str, int, float], None]
"""Is told of a request's path, its answer's status, and the seconds it took, before the answer is sent."""


class DrainedBody(TrioBody):
    """A body that, once it is too long, is still read to its end but no longer kept.

    It keeps its bytes itself, because Quart's releases, of which each Python gets another, do that in different ways.
    """

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(expected_content_length, max_content_length)
        self.ended = trio.Event()
        self._bytes = bytearray()
        self._bytes_max = max_content_length
        self._is_known = trio.Event()  # all of it, or that it is too long
        self._is_too_long = False
        if max_content_length is not None and (expected_content_length or 0) > max_content_length:
            self._give_up()

    def feed(self, data: bytes, *, is_last: bool) -> None:
        """Take the next part."""
        if not self._is_too_long:
            self._bytes += data
            if self._bytes_max is not None and len(self._bytes) > self._bytes_max:
                self._give_up()
        if is_last:
            self.ended.set()
            self._is_known.set()

    def _give_up(self) -> None:
        self._is_too_long = True
        self._bytes.clear()
        self._is_known.set()

    def __await__(self) -> Generator[Any, None, Any]:
        """All of it; raises ``RequestEntityTooLarge`` as soon as it is known to be too long."""
        yield from self._is_known.wait().__await__()
        if self._is_too_long:
            raise RequestEntityTooLarge
        return bytes(self._bytes)


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
        while (message := await receive())["type"] == "http.request":
            request.body.feed(message.get("body", b""), is_last=not message.get("more_body", False))
        if not self._is_answering:
            nursery.cancel_scope.cancel()

    async def _send_response(self, send: Any, response: Any) -> None:
        self._is_answering = True
        await super()._send_response(send, response)


class DtmApp(QuartTrio):
    """Quart, with doubled slashes in paths read as one: some clients build them (a base URL that ends in a slash)."""

    request_class = DrainedRequest
    asgi_http_class = Connection

    served: Served | None = None

    async def asgi_app(self, scope: Any, receive: Any, send: Any) -> None:
        """One request of a connection; as Quart's, with the path straightened, and told to ``served``."""
        if scope["type"] == "websocket":  # no route is one, and Quart's handlers for what is none know requests only
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            await super().asgi_app(scope, receive, send)
            return
        if "//" in scope["path"]:
            scope = {**scope, "path": straight_path(scope["path"])}
        began_at = time.perf_counter()
        arrive(next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), ""))

        async def send_and_tell(message: Any) -> None:
            if message["type"] == "http.response.start" and self.served is not None:
                self.served(scope["path"], message["status"], time.perf_counter() - began_at)
            await send(message)

        await super().asgi_app(scope, receive, send_and_tell)


def straight_path(path: str) -> str:
    """A path with every run of slashes as one."""
    while "//" in path:
        path = path.replace("//", "/")
    return path
