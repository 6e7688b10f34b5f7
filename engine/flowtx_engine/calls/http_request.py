"""An HTTP/1.1 request as bytes (RFC 9112).

Law: pure, and nothing a caller gives can break out of its place: whatever would end a line or begin a header early is
refused with an `HttpFault`. How the message is framed is decided here alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from flowtx_engine.calls.http_types import HttpFault
from flowtx_engine.calls.http_url import Origin, Url

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
# RFC 9110, field-value: no control characters but the tab. A line break here would begin a header of the attacker's.
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_JSON_TYPE = re.compile(r"(?:application|text)/(?:[^;]*json)", re.IGNORECASE)
_METHODS_WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})
# The framing is ours to write; what a caller says about it is dropped, as Go drops it.
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "trailer", "host"})
_USER_AGENT = "flowtx"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedHeaders:
    """The caller's headers and the defaults as bytes, and what they decide about the call."""

    lines: bytes
    host: str | None
    has_authorization: bool
    asks_close: bool


def render_request(
    method: str, url: Url, headers: RenderedHeaders, body: bytes, *, forwarder: Origin | None = None
) -> bytes:
    """Return the bytes of one request; to a `forwarder`, which is a proxy, the whole URL is told.

    Raises `HttpFault` when the method is not one that HTTP can carry.
    """
    if _TOKEN.fullmatch(method) is None or method == "CONNECT":
        raise HttpFault(f"{method!r} is not a method of calls; expected a word such as POST")
    host = headers.host or url.origin.authority
    if forwarder is None:
        head = f"{method} {url.target} HTTP/1.1\r\nHost: {host}\r\n"
    else:
        target = f"{url.origin.scheme}://{host}{url.target}"
        head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{_proxy_authorization(forwarder)}"
    if url.origin.authorization is not None and not headers.has_authorization:
        head += f"Authorization: {url.origin.authorization}\r\n"
    if body or method in _METHODS_WITH_LENGTH:
        head += f"Content-Length: {len(body)}\r\n"
    return b"".join((head.encode("ascii"), headers.lines, b"\r\n", body))


def render_connect(origin: Origin, proxy: Origin) -> bytes:
    """Return the bytes that ask `proxy` for a tunnel to `origin` (RFC 9110, section 9.3.6)."""
    head = f"CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\nUser-Agent: {_USER_AGENT}\r\n"
    return f"{head}{_proxy_authorization(proxy)}\r\n".encode("ascii")


# Calls differ in URL and body; their headers are the same few, over and over.
@lru_cache(maxsize=256)
def render_headers(headers: tuple[tuple[str, str], ...]) -> RenderedHeaders:
    """Return `headers` as lines, with the defaults where they are not given (spec/dtm-compat.md, section 3.2).

    Names are canonicalised as Go does it (`test_header` becomes `Test_header`), values are sent as UTF-8.

    Raises `HttpFault` when a name or a value could break out of its line.
    """
    given = {name.lower(): value for name, value in headers}
    defaults = {"User-Agent": _USER_AGENT, "Accept-Encoding": "gzip"}
    if _JSON_TYPE.match(given.get("content-type", "")) is not None:
        defaults["Accept"] = "application/json"
    kept = [(name, value) for name, value in headers if name.lower() not in _OWN_HEADERS]
    kept += [(name, value) for name, value in defaults.items() if name.lower() not in given]
    host = given.get("host")
    if host is not None and (not host.isascii() or re.search(r"[\x00-\x20\x7f/]", host) is not None):
        raise HttpFault(f"the Host header {host!r} is not a host name")
    return RenderedHeaders(
        lines=b"".join(_header_line(name, value) for name, value in kept),
        host=host or None,
        has_authorization="authorization" in given,
        asks_close="close" in given.get("connection", "").lower(),
    )


def _proxy_authorization(proxy: Origin) -> str:
    return "" if proxy.authorization is None else f"Proxy-Authorization: {proxy.authorization}\r\n"


def _header_line(name: str, value: str) -> bytes:
    if _TOKEN.fullmatch(name) is None:
        raise HttpFault(f"the header name {name!r} is not one that HTTP can carry; expected letters, digits and dashes")
    if _BAD_VALUE.search(value) is not None:
        raise HttpFault(f"the header {name} has a line break or control character in its value; leave it out")
    canonical = "-".join(word.capitalize() for word in name.split("-"))
    trimmed = value.strip(" \t")
    try:
        return f"{canonical}: {trimmed}\r\n".encode()
    except UnicodeEncodeError as error:
        raise HttpFault(f"the header {name} has a lone surrogate in its value, which has no encoding") from error
