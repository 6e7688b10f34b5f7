"""DTM's routes on Quart: it carries requests and answers and decides nothing.

The law of this file: no answer holds a stack trace, whatever happens, and no body is kept in memory beyond the limit.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio
from quart import Response, request
from quart_trio import QuartTrio
from quart_trio.wrappers.request import TrioBody, TrioRequest
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from flowtx.dtm.operations import Desk
from flowtx.dtm.routes import NOT_FOUND, PING_PATH, PONG, ROUTES, Answer, Asked, Handler, answer, answer_unrouted
from flowtx.dtm.wire import answers
from flowtx.settings import Settings
from flowtx_engine.runtime.engine import Engine

log = logging.getLogger("flowtx.dtm")

DRAIN_MAX_S = 10.0
"""How long the rest of a body that is too long is read and thrown away, so that its sender gets to see the answer."""

ANY_METHOD = ("GET", "POST", "PUT", "PATCH", "HEAD", "OPTIONS", "DELETE", "CONNECT", "TRACE")


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


class DtmApp(QuartTrio):
    """Quart, with doubled slashes in paths read as one: some clients build them (a base URL that ends in a slash)."""

    request_class = DrainedRequest

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


def make_app(engine: Engine, settings: Settings) -> DtmApp:
    """The application that serves DTM's HTTP API from an engine."""
    app = DtmApp("flowtx", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.body_max_bytes
    app.url_map.merge_slashes = False
    desk = Desk(engine=engine, settings=settings)
    for (method, path), handler in ROUTES.items():
        app.add_url_rule(
            path, f"{method} {path}", _view_of(method, handler, desk), methods=[method], provide_automatic_options=False
        )
    app.add_url_rule(PING_PATH, "ping", _ping, methods=list(ANY_METHOD), provide_automatic_options=False)
    app.register_error_handler(NotFound, _unrouted)
    app.register_error_handler(MethodNotAllowed, _unrouted)
    app.register_error_handler(RequestEntityTooLarge, _too_large_for(settings.body_max_bytes))
    app.register_error_handler(HTTPException, _other_http_error)
    app.register_error_handler(Exception, _unforeseen)
    return app


def _view_of(method: str, handler: Handler, desk: Desk) -> Callable[[], Awaitable[Response]]:
    takes_body = method == "POST"

    async def view() -> Response:
        if request.method != method:  # HEAD, which Quart lets in wherever GET is
            return _respond(NOT_FOUND)
        body = await request.get_data(as_text=False) if takes_body else b""
        return _respond(await answer(handler, desk, Asked(request.query_string, cast("bytes", body))))

    return view


async def _ping() -> Response:
    return _respond(PONG)


async def _unrouted(error: Exception) -> Response:
    return _respond(answer_unrouted(request.method, request.path, request.query_string))


def _too_large_for(body_max_bytes: int) -> Callable[[Exception], Awaitable[Response]]:
    message = f"the body is longer than the {body_max_bytes} bytes that this server takes (body_max_bytes)"

    async def too_large(error: Exception) -> Response:
        body = request.body
        assert isinstance(body, DrainedBody), body
        with trio.move_on_after(DRAIN_MAX_S):
            await body.ended.wait()
        return _respond(Answer(413, answers.error(message)))

    return too_large


async def _other_http_error(error: HTTPException) -> Response:
    return _respond(Answer(error.code or 500, answers.error(error.name)))


async def _unforeseen(error: Exception) -> Response:
    log.error("answering %s %s failed", request.method, request.path, exc_info=error)
    return _respond(Answer(500, answers.error("internal error of the transaction manager; its log says more")))


def _respond(answer: Answer) -> Response:
    response = Response(answer.body, answer.status, content_type=answer.content_type)
    if answer.location:
        response.headers["Location"] = answer.location
    return response
