"""Flask: a function as the view of a participant.

The law of this file: it only carries what came to ``participants.py``, and the answer back.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request

from flowtx.client.participants import METHODS, BranchRequest, Handler, Participant


def participant(*, table: str | None = None) -> Callable[[Handler], Callable[..., Response]]:
    """Decorate a plain function: ``@app.route("/withdraw")`` over ``@participant()``; see ``Participant``."""

    def decorate(handler: Handler) -> Callable[..., Response]:
        endpoint = Participant(handler, table=table)
        endpoint.require_plain("Flask")

        def view(**path: object) -> Response:
            reply = endpoint.call(BranchRequest(query=request.args.to_dict(), body=request.get_data()), path)
            return Response(reply.body, status=reply.status, mimetype="application/json")

        setattr(view, "methods", METHODS)  # noqa: B010 - app.route looks there; a function type has no such attribute
        return endpoint.naming(view)

    return decorate
