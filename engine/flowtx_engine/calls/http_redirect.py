"""Where a redirect leads, and what is sent there.

Law: pure, and exactly what Go's `net/http.Client` does, because DTM's participants have lived with that: 301, 302 and
303 turn every method but GET and HEAD into GET and drop the body; 307 and 308 repeat method and body; once dropped, a
body, a credential or a Host header never comes back on a later hop.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowtx_engine.calls.http_types import HttpRequest, HttpResponse
from flowtx_engine.calls.http_url import parse_url, resolve_reference

REDIRECTS = frozenset({301, 302, 303, 307, 308})

_REPEATING = frozenset({307, 308})
_SENSITIVE = frozenset(
    {"authorization", "www-authenticate", "cookie", "cookie2", "proxy-authorization", "proxy-authenticate"}
)
_ABOUT_BODY = frozenset({"content-type", "content-encoding", "content-language", "content-location"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One request on the way: what is sent now, and what of the first request has been dropped for good."""

    request: HttpRequest
    is_body_dropped: bool = False
    is_stripped: bool = False


def next_hop(first: HttpRequest, hop: Hop, response: HttpResponse) -> Hop | None:
    """Return what to send next after `response` came for `hop`, or None when that response is the answer.

    Raises `HttpFault` when the response redirects to what is not a URL.
    """
    location = response.header("location")
    if response.status not in REDIRECTS or not location:
        return None
    is_repeated = response.status in _REPEATING
    method = hop.request.method if is_repeated or hop.request.method in {"GET", "HEAD"} else "GET"
    is_body_dropped = hop.is_body_dropped or not is_repeated
    url = resolve_reference(hop.request.url, location)
    is_stripped = hop.is_stripped or not _is_trusted(first.url, url)
    kept = tuple(
        (name, value)
        for name, value in first.headers
        if not (is_stripped and name.lower() in _SENSITIVE)
        and not (is_body_dropped and name.lower() in _ABOUT_BODY)
        and name.lower() != "host"
    )
    kept += _kept_host(hop, location)
    request = HttpRequest(
        method=method,
        url=url,
        headers=kept + _referer(hop.request.url, url, kept),
        body=b"" if is_body_dropped else first.body,
    )
    return Hop(request=request, is_body_dropped=is_body_dropped, is_stripped=is_stripped)


def _is_trusted(first_url: str, url: str) -> bool:
    """Whether credentials for the one may be shown to the other: the same host or one below it."""
    first, new = parse_url(first_url).origin, parse_url(url).origin
    return new.host == first.host or (":" not in new.host and new.host.endswith(f".{first.host}"))


def _kept_host(hop: Hop, location: str) -> tuple[tuple[str, str], ...]:
    # A Host header that the caller chose names the same server as long as the redirects stay relative.
    is_relative = "://" not in location.partition("?")[0].partition("#")[0]
    return tuple(each for each in hop.request.headers if is_relative and each[0].lower() == "host")


def _referer(last_url: str, url: str, kept: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    last, new = parse_url(last_url), parse_url(url)
    if any(name.lower() == "referer" for name, _ in kept) or (last.origin.scheme, new.origin.scheme) == (
        "https",
        "http",
    ):
        return ()
    return (("Referer", f"{last.origin.scheme}://{last.origin.authority}{last.target}"),)
