"""Quart, on asyncio and on trio: a function as the view of a participant.

The law of this file: it only carries what came to ``participants.py``, and the answer back. A plain function runs in a
worker thread, so that the loop does not wait for its database.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from quart import Response, current_app, request

from flowtx.client.participants import METHODS, BranchRequest, Handler, Participant


def participant(*, table: str | None = None) -> Callable[[Handler], Callable[..., Awaitable[Response]]]:
    """Decorate a function: ``@app.route("/withdraw")`` over ``@participant()``; see ``Participant``."""

    def decorate(handler: Handler) -> Callable[..., Awaitable[Response]]:
        endpoint = Participant(handler, table=table)

        async def view(**path: object) -> Response:
            body = await request.get_data()
            assert isinstance(body, bytes), type(body)  # text only when asked for
            call = endpoint.call_async if endpoint.is_async else current_app.ensure_async(endpoint.call)
            reply = await call(BranchRequest(query=request.args.to_dict(), body=body), path)
            return Response(reply.body, status=reply.status, mimetype="application/json")

        setattr(view, "methods", METHODS)  # noqa: B010 - app.route looks there; a function type has no such attribute
        return endpoint.naming(view)

    return decorate
