"""FastAPI and Starlette: a function as the endpoint of a participant.

The law of this file: it only carries what came to ``participants.py``, and the answer back. FastAPI's own parameters
and dependencies are not known here: the function is given the call, not the request. It needs Starlette only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from flowtx.client.participants import BranchRequest, Handler, Participant


def participant(*, table: str | None = None) -> Callable[[Handler], Callable[[Request], Awaitable[Response]]]:
    """Decorate a function: ``@app.api_route("/withdraw", methods=METHODS)`` over ``@participant()``; see
    ``Participant``.

    With Starlette: ``Route("/withdraw", participant()(withdraw), methods=METHODS)``.
    """

    def decorate(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        called = Participant(handler, table=table)

        async def endpoint(request: Request) -> Response:
            branch = BranchRequest(query=dict(request.query_params), body=await request.body())
            if called.is_async:
                reply = await called.call_async(branch, request.path_params)
            else:
                reply = await run_in_threadpool(called.call, branch, request.path_params)
            return Response(reply.body, status_code=reply.status, media_type="application/json")

        return called.naming(endpoint)

    return decorate
