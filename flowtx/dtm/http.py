"""DTM's routes on Quart: it carries requests and answers and decides nothing.

The law of this file: no answer holds a stack trace, whatever happens, and no body is kept in memory beyond the limit.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import cast

import trio
from quart import Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge, RequestTimeout

from flowtx.dtm import json_rpc
from flowtx.dtm.operations.desk import Desk, Served
from flowtx.dtm.quart_app import DrainedBody, DtmApp
from flowtx.dtm.routes import (
    JSON_RPC_PATH,
    NAMED_ROUTES,
    NOT_FOUND,
    PING_PATH,
    PONG,
    ROUTES,
    Answer,
    Asked,
    Handler,
    answer,
    answer_unrouted,
    api_of,
)
from flowtx.dtm.wire import answers
from flowtx.settings import Settings
from flowtx_engine.runtime.engine import Engine

log = logging.getLogger("flowtx.dtm")

DRAIN_MAX_S = 10.0
"""How long the rest of a body that is too long is waited for, so that its sender gets to see the answer."""

STATUS_HEADER = "Flowtx-Status"
"""Where a transaction stands that ``wait_result`` waited for in vain: the 409 alone does not tell (spec 12.26)."""
ANY_METHOD = ("GET", "POST", "PUT", "PATCH", "HEAD", "OPTIONS", "DELETE", "TRACE")
"""All but CONNECT, after whose success no answer follows but a tunnel (RFC 9110, 9.3.6)."""


def make_app(
    engine: Engine,
    settings: Settings,
    *,
    served: Served = lambda kind, api, status, elapsed_s: None,
    pages: Mapping[str, Callable[[], Answer]] = MappingProxyType({}),
) -> DtmApp:
    """The application that serves DTM's HTTP API from an engine.

    ``served`` is told of every request, and ``pages`` are served beside the API, by path.
    """
    app = DtmApp("flowtx", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.body_max_bytes
    app.config["BODY_TIMEOUT"] = settings.keep_alive_s  # who announces a body and does not send it is answered 408
    app.url_map.merge_slashes = False
    desk = Desk(engine=engine, settings=settings)
    named = {(method, f"{before}<name>"): handler for (method, before), handler in NAMED_ROUTES.items()}
    for (method, path), handler in (*ROUTES.items(), *named.items()):
        app.add_url_rule(
            path, f"{method} {path}", _view_of(method, handler, desk), methods=[method], provide_automatic_options=False
        )
    app.add_url_rule(
        JSON_RPC_PATH, "json-rpc", _json_rpc_view_of(desk), methods=["POST"], provide_automatic_options=False
    )
    app.add_url_rule(PING_PATH, "ping", _ping, methods=list(ANY_METHOD), provide_automatic_options=False)
    for path, page in pages.items():
        app.add_url_rule(path, path, _page_view_of(page), methods=["GET"], provide_automatic_options=False)
    app.served = lambda path, status, elapsed_s: served("http", api_of(path), status, elapsed_s)
    app.register_error_handler(NotFound, _unrouted)
    app.register_error_handler(MethodNotAllowed, _unrouted)
    app.register_error_handler(RequestEntityTooLarge, _too_large_for(settings.body_max_bytes))
    app.register_error_handler(RequestTimeout, _too_slow_for(settings.keep_alive_s))
    app.register_error_handler(HTTPException, _other_http_error)
    app.register_error_handler(Exception, _unforeseen)
    return app


def _view_of(method: str, handler: Handler, desk: Desk) -> Callable[..., Awaitable[Response]]:
    takes_body = method == "POST"

    async def view(name: str = "") -> Response:
        if request.method != method:  # HEAD, which Quart lets in wherever GET is
            return _respond(NOT_FOUND)
        body = await request.get_data(as_text=False) if takes_body else b""
        return _respond(await answer(handler, desk, Asked(request.query_string, cast("bytes", body), name)))

    return view


def _json_rpc_view_of(desk: Desk) -> Callable[[], Awaitable[Response]]:
    async def view() -> Response:
        return _respond(await json_rpc.answer(desk, cast("bytes", await request.get_data(as_text=False))))

    return view


def _page_view_of(page: Callable[[], Answer]) -> Callable[[], Awaitable[Response]]:
    async def view() -> Response:
        return _respond(page() if request.method == "GET" else NOT_FOUND)

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


def _too_slow_for(body_max_s: float) -> Callable[[Exception], Awaitable[Response]]:
    message = f"the body did not arrive within {body_max_s:g} s (keep_alive_s)"

    async def too_slow(error: Exception) -> Response:
        return _respond(Answer(408, answers.error(message)))

    return too_slow


async def _other_http_error(error: HTTPException) -> Response:
    return _respond(Answer(error.code or 500, answers.error(error.name)))


async def _unforeseen(error: Exception) -> Response:
    log.error("answering %s %s failed", request.method, request.path, exc_info=error)
    return _respond(Answer(500, answers.error("internal error of the transaction manager; its log says more")))


def _respond(answer: Answer) -> Response:
    response = Response(answer.body, answer.status, content_type=answer.content_type)
    if answer.location:
        response.headers["Location"] = answer.location
    if answer.transaction_status:
        response.headers[STATUS_HEADER] = answer.transaction_status
    return response
