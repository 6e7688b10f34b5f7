"""What an outgoing HTTP call is, and what may come of it.

Law: a call has exactly two ends. Either the whole response was received, whatever its status, and it is an
`HttpResponse`; or it was not, and that is an `HttpFault`, after which nobody knows whether the participant acted.
Judging a status (refused, ongoing, ...) belongs to the caller, not to a transport.

The real client (`calls/http.py`) and the simulator's network both implement `HttpTransport`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request to a participant.

    `url` is absolute (`http://` or `https://`); unsafe characters in it are percent-encoded when sent, and what is
    encoded already is left alone. `headers` keep their order and may repeat. `Host`, `Content-Length` and the
    defaults (`User-Agent`, `Accept`, `Accept-Encoding`) are added by the transport where they are not given.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """One whole response.

    `headers` have lower-cased names and keep the order received; their values hold one character for each byte
    (latin-1). `body` is de-chunked and decompressed.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first value of the header called `name` (any case), or None where there is none."""
        wanted = name.lower()
        return next((value for each, value in self.headers if each == wanted), None)


class HttpFault(Exception):
    """No whole response was had, so the outcome is unknown.

    The text says what was tried, where (host and port), in which phase (resolve, connect, send, receive) it went wrong
    and why, in words a user can act on.
    """


class AnswerTooLong(HttpFault):
    """The answer began, with ``status``, and its body is longer than the transport takes."""

    status: int = 0


class HttpTransport(Protocol):
    """Anything that can carry an `HttpRequest` to its participant and bring the `HttpResponse` back."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send `request` and return the whole response.

        The caller sets the deadline of the whole call with a trio cancel scope.

        Raises `HttpFault` when no whole response was received.
        """
        ...
