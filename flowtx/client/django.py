"""Django: a function as the view of a participant.

The law of this file: it only carries what came to ``participants.py``, and the answer back. A server has no CSRF token,
so the view is exempt; that only servers call it is the network's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from flowtx.client.participants import BranchRequest, Handler, Participant, Reply

View = Callable[..., HttpResponse | Awaitable[HttpResponse]]


def participant(*, table: str | None = None) -> Callable[[Handler], View]:
    """Decorate a function: ``path("withdraw", withdraw)`` takes what comes of it; see ``Participant``."""

    def decorate(handler: Handler) -> View:
        endpoint = Participant(handler, table=table)

        def view(request: HttpRequest, **path: object) -> HttpResponse:
            return _response(endpoint.call(_call(request), path))

        async def async_view(request: HttpRequest, **path: object) -> HttpResponse:
            return _response(await endpoint.call_async(_call(request), path))

        if endpoint.is_async:
            return csrf_exempt(endpoint.naming(async_view))
        return csrf_exempt(endpoint.naming(view))

    return decorate


def _call(request: HttpRequest) -> BranchRequest:
    return BranchRequest(query={name: str(value) for name, value in request.GET.items()}, body=request.body)


def _response(reply: Reply) -> HttpResponse:
    return HttpResponse(reply.body, status=reply.status, content_type="application/json")
