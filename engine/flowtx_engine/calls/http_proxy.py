"""Which calls go through a proxy, by the environment.

Law: pure and read once. The rules are those of Go (`golang.org/x/net/http/httpproxy`): HTTP_PROXY serves http calls,
HTTPS_PROXY serves https calls, NO_PROXY names hosts that are called directly, each also in lower case; localhost and
loopback addresses are always called directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from flowtx_engine.calls.http_types import HttpFault
from flowtx_engine.calls.http_url import Origin, parse_url, shown

_Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRules:
    """The proxies of the environment. An empty URL stands for none."""

    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: tuple[_Exception, ...] = ()
    is_under_cgi: bool = False

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> ProxyRules:
        """Read the rules; nothing is refused here, so that a bad proxy troubles only the calls that would use it."""
        words = _first_of(environ, "NO_PROXY", "no_proxy").split(",")
        return cls(
            http_proxy=_first_of(environ, "HTTP_PROXY", "http_proxy"),
            https_proxy=_first_of(environ, "HTTPS_PROXY", "https_proxy"),
            no_proxy=tuple(_parse_exception(word.strip().lower()) for word in words if word.strip()),
            is_under_cgi="REQUEST_METHOD" in environ,
        )

    def proxy_for(self, origin: Origin) -> Origin | None:
        """Return the proxy that calls to `origin` go through, or None when they go directly.

        Raises `HttpFault` when there is a proxy for them and it cannot be used.
        """
        proxy = self.https_proxy if origin.scheme == "https" else self.http_proxy
        if not proxy or self._is_direct(origin):
            return None
        variable = f"{origin.scheme.upper()}_PROXY"
        if self.is_under_cgi and origin.scheme == "http":
            # httpoxy: under CGI that variable is the Proxy header of whoever called us.
            raise HttpFault("REQUEST_METHOD is set, so HTTP_PROXY may be an attacker's (httpoxy); unset one of the two")
        try:
            return parse_url(proxy if "://" in proxy else f"http://{proxy}").origin
        except HttpFault as fault:
            raise HttpFault(
                f"{variable} is {shown(proxy)!r}; expected http://host:port or https://host:port"
            ) from fault

    def _is_direct(self, origin: Origin) -> bool:
        if origin.host == "localhost":
            return True
        address = _address_of(origin.host)
        if address is not None and address.is_loopback:
            return True
        return any(each.covers(origin.host, address, origin.port) for each in self.no_proxy)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exception:
    """One word of NO_PROXY. A network covers addresses, a suffix covers names, and neither covers everything."""

    network: IPv4Network | IPv6Network | None = None
    suffix: str = ""
    is_host_covered: bool = False
    port: str = ""

    def covers(self, host: str, address: _Address | None, port: int) -> bool:
        if self.port and self.port != str(port):
            return False
        if self.network is not None:
            return address is not None and address in self.network
        if not self.suffix:
            return True
        return address is None and (host.endswith(self.suffix) or (self.is_host_covered and host == self.suffix[1:]))


def _first_of(environ: Mapping[str, str], *names: str) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _address_of(host: str) -> _Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _parse_exception(word: str) -> _Exception:
    if word == "*":
        return _Exception()
    host, port = _split_port(word)
    try:
        return _Exception(network=ip_network(host.strip("[]"), strict=False), port=port)
    except ValueError:
        # "foo.com" covers foo.com and what is below it; ".foo.com" and "*.foo.com" only what is below it.
        name = host.removeprefix("*")
        is_below_only = name.startswith(".")
        return _Exception(suffix=name if is_below_only else f".{name}", is_host_covered=not is_below_only, port=port)


def _split_port(word: str) -> tuple[str, str]:
    host, colon, port = word.rpartition(":")
    is_bare_ipv6 = ":" in host and not host.startswith("[")
    return (host, port) if colon and port.isdigit() and not is_bare_ipv6 else (word, "")
