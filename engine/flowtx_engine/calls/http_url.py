"""URLs of outgoing calls: where to connect, what to ask for there, and what a redirect points to.

Law: everything here is pure, and what leaves here is safe to put on the wire: ASCII, no control characters, no white
space. What was percent-encoded already stays as it is. A URL that cannot be called is an `HttpFault` that says why.

The rules are Go's (`net/url`, `net/http`), because participants have been written against DTM, which is written in Go;
where Go sends an unsafe character as it is (in a query), it is encoded here.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import unquote_to_bytes

import idna

from flowtx_engine.calls.http_types import HttpFault

_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?", re.IGNORECASE)
# RFC 3986, appendix B.
_REFERENCE = re.compile(r"([^:/?#]+:)?(//[^/?#]*)?([^?#]*)(\?[^#]*)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# RFC 3986 pchar, "/", "?", and the brackets that Go leaves alone; a "%" is safe where two hex digits follow it.
_UNSAFE = re.compile(r"[^A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]%]|%(?![0-9A-Fa-f]{2})")
_AUTHORITY = re.compile(r"(?:(?P<user>.*)@)?(?:\[(?P<six>[^\]]*)\]|(?P<name>[^:]*))(?::(?P<port>.*))?", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=]+")
_PASSWORD = re.compile(r"(?<=://)([^/?#:]*):[^/?#]*@")
_PORT_DIGITS_MAX = 5
_SHOWN_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Scheme, host and port of a URL: what a connection is opened to.

    `host` is what is resolved: ASCII, lower case, an IPv6 address without its brackets. `authority` is what goes into
    the Host header: the port only where it was written. `authorization` is the Authorization header that a user name in
    the URL stands for (RFC 7617), or None. `endpoint` names scheme, host and port in one string, a quick key for what
    can share connections.
    """

    endpoint: str
    scheme: str
    host: str
    port: int
    authority: str
    authorization: str | None = None

    def __str__(self) -> str:
        """Return host and port, as a person reads them: `bob:8081`, `[::1]:443`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """A URL ready to be called: its origin, and the target to ask for there (path and query, never empty)."""

    origin: Origin
    target: str


def parse_url(url: str) -> Url:
    """Take an absolute http or https URL apart; the fragment is dropped.

    Raises `HttpFault` for any other scheme, for control characters, and for a host or port that cannot be.
    """
    match = _URL.match(url)
    if match is None or _CONTROL.search(url) is not None:
        raise _bad_url(url)
    scheme, authority, path, query = match.groups()
    target = f"{path or '/'}{query or ''}"
    if _UNSAFE.search(target) is not None:
        target = _UNSAFE.sub(_percent_encoded, target)
    return Url(origin=parse_origin(scheme, authority), target=target)


def resolve_reference(base: str, location: str) -> str:
    """Return the absolute URL that a Location header in the answer from `base` points to (RFC 3986, section 5.2).

    `location` is as an `HttpResponse` holds it: one character for each byte. Bytes outside ASCII are percent-encoded.

    Raises `HttpFault` when the location has control characters; whether the URL can be called, `parse_url` says.
    """
    encoded = "".join([each if each < "\x80" else f"%{ord(each):02X}" for each in location])
    if _CONTROL.search(encoded) is not None:
        raise HttpFault(f"the answer redirects to {encoded!r}, which has a control character in it")
    scheme, authority, path, query = _split_reference(encoded)
    base_scheme, base_authority, base_path, base_query = _split_reference(base)
    if not scheme and not authority:
        if not path:
            path, query = base_path, query or base_query
        elif not path.startswith("/"):
            path = f"{base_path.rpartition('/')[0]}/{path}"
        authority = base_authority
    return f"{scheme or base_scheme}{authority}{_without_dots(path)}{query}"


def shown(url: str) -> str:
    """Return `url` as messages show it: the password hidden, an endless one cut short, control characters escaped."""
    hidden = _PASSWORD.sub(r"\1:***@", url)
    cut = hidden if len(hidden) <= _SHOWN_MAX else f"{hidden[:_SHOWN_MAX]}..."
    return cut if cut.isprintable() else ascii(cut)


# Every call has a URL of its own (the gid is in its query), but there are few participants.
@lru_cache(maxsize=1024)
def parse_origin(scheme: str, authority: str) -> Origin:
    """Return the origin of the URL that begins `scheme://authority`.

    Raises `HttpFault` when host or port cannot be.
    """
    scheme = scheme.lower()
    shown_url = shown(f"{scheme}://{authority}")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise HttpFault(f"the URL {shown_url} has no host that can be read; expected host, host:port or [ipv6]:port")
    host = _ascii_host(match["name"], shown_url) if match["six"] is None else _ipv6_host(match["six"], shown_url)
    port = match["port"]
    if port and not (port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS_MAX and 0 < int(port) < 65536):
        raise HttpFault(f"the URL {shown_url} has the port {port!r}; expected a number from 1 to 65535")
    bare = f"[{host.partition('%')[0]}]" if ":" in host else host
    port_number = int(port) if port else _DEFAULT_PORTS[scheme]
    return Origin(
        endpoint=f"{scheme}://{host.lower()} {port_number}",
        scheme=scheme,
        host=host.lower(),
        port=port_number,
        authority=f"{bare}:{port}" if port else bare,
        authorization=None if match["user"] is None else _basic_authorization(match["user"]),
    )


def _split_reference(reference: str) -> tuple[str, str, str, str]:
    """Return scheme, authority, path and query, each with its delimiters, or empty where there is none."""
    match = _REFERENCE.match(reference)
    assert match is not None, reference  # every part of the pattern may be empty
    return match[1] or "", match[2] or "", match[3], match[4] or ""


def _without_dots(path: str) -> str:
    """Return `path` with its `.` and `..` carried out (RFC 3986, section 5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in {".", ".."}:
        kept.append("")
    return "".join(f"/{segment}" for segment in kept)


def _percent_encoded(match: re.Match[str]) -> str:
    try:
        return "".join(f"%{byte:02X}" for byte in match[0].encode())
    except UnicodeEncodeError as error:
        raise HttpFault(f"the URL has the lone surrogate {match[0]!a} in it, which has no encoding") from error


def _ascii_host(name: str, shown_url: str) -> str:
    if name.isascii():
        host = name
    else:
        try:
            host = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise HttpFault(f"the URL {shown_url} has a host that is no domain name ({error})") from error
    if _NAME.fullmatch(host) is None:
        found = f"the host {host!r}" if host else "no host"
        raise HttpFault(f"the URL {shown_url} has {found}; expected a domain name or an IP address")
    return host


def _ipv6_host(literal: str, shown_url: str) -> str:
    # RFC 6874: the "%" before a zone is itself percent-encoded in a URL, and is plain where the address is resolved.
    address, mark, zone = literal.partition("%25")
    try:
        IPv6Address(address)
    except AddressValueError as error:
        raise HttpFault(f"the URL {shown_url} has the host [{literal}], which is no IPv6 address ({error})") from error
    if mark and _NAME.fullmatch(zone) is None:
        raise HttpFault(f"the URL {shown_url} has the IPv6 zone {zone!r}; expected the name of a network interface")
    return f"{address}%{zone}" if mark else address


def _basic_authorization(userinfo: str) -> str:
    user, _, password = userinfo.partition(":")
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return f"Basic {base64.b64encode(pair).decode('ascii')}"


def _bad_url(url: str) -> HttpFault:
    if _CONTROL.search(url) is not None:
        return HttpFault(f"the URL {shown(url)} has a control character in it; percent-encode it or leave it out")
    return HttpFault(f"the URL {shown(url)!r} cannot be called over HTTP; expected one that begins http:// or https://")
