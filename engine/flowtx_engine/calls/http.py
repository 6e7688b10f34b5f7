"""The HTTP/1.1 client that calls participants.

Law: `send` ends with the whole response, with an `HttpFault`, or with the caller's cancellation, and in each case the
connection it used is either idle in its pool, clean to the last byte, or closed. Deadlines are the caller's: a trio
cancel scope around `send` covers waiting for a connection, redirects and all.

Why not a library: this is the hot path. httpx costs 1,000 microseconds of CPU a call, httpcore 740, this some 30.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import trio

from flowtx_engine.calls.http_connection import Connection, Route, open_connection, plan_route
from flowtx_engine.calls.http_exchange import BrokenExchangeError, exchange
from flowtx_engine.calls.http_pool import PoolLimits, Pools, PoolStatistics
from flowtx_engine.calls.http_proxy import ProxyRules
from flowtx_engine.calls.http_redirect import REDIRECTS, Hop, next_hop
from flowtx_engine.calls.http_request import render_headers, render_request
from flowtx_engine.calls.http_response import ResponseParser
from flowtx_engine.calls.http_types import HttpFault, HttpRequest, HttpResponse, HttpTransport
from flowtx_engine.calls.http_url import Origin, parse_url, shown

# Planning a route looks at the proxy rules; there are few participants, and many calls to each.
_ROUTES_MAX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """The limits of an `HttpClient`. Lengths of time are in seconds, sizes in bytes.

    `connections_per_host_max` counts open connections to one scheme, host and port; calls beyond it wait their turn.
    `idle_s` should be shorter than participants keep their ends open. `connect_timeout_s` is for name, TCP, proxy and
    TLS together. `response_headers_max` is for the headers and again for trailers, `response_body_max` for the body as
    it is sent and as it is decoded. `redirects_max` counts as Go does: the tenth redirect is no longer followed.
    """

    connections_per_host_max: int = 100
    idle_connections_per_host_max: int = 100
    idle_s: float = 30.0
    connect_timeout_s: float = 10.0
    response_headers_max: int = 64 * 1024
    response_body_max: int = 16 * 1024 * 1024
    redirects_max: int = 10

    def __post_init__(self) -> None:
        for name in self.__slots__:
            found: float = getattr(self, name)
            if not (found >= 0 if name.startswith("idle") else found > 0):
                expected = "at least 0" if name.startswith("idle") else "more than 0"
                raise ValueError(f"HttpLimits.{name} is {found!r}; expected {expected}")


class HttpClient(HttpTransport):
    """An `HttpTransport` over TCP and TLS, with connections that are kept and used again.

    Use it as `async with HttpClient(limits) as client`, or call `aclose` at the end.
    """

    def __init__(
        self,
        limits: HttpLimits | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Make a client.

        `environ` is where the proxy variables are read, now and never again; by default `os.environ`. `tls` is what
        https connections are made with, and should ask for HTTP/1.1 by ALPN; by default one that trusts what the system
        trusts is made when it is first needed.
        """
        self._limits = limits = limits or HttpLimits()
        self._tls = tls
        self._routes: dict[str, Route] = {}
        self._proxy_rules = ProxyRules.from_environ(os.environ if environ is None else environ)
        self._pools: Pools[str, Connection] = Pools(
            PoolLimits(
                slots_max=limits.connections_per_host_max,
                idle_max=limits.idle_connections_per_host_max,
                idle_s=limits.idle_s,
            )
        )

    def __repr__(self) -> str:
        """Return the pools, for the reader of a failing test."""
        return f"<HttpClient {self._pools}{' closed' if self._pools.is_closed else ''}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def statistics(self) -> dict[str, PoolStatistics]:
        """Return what is held at this moment, by endpoint (and proxy, where there is one)."""
        return self._pools.statistics()

    async def aclose(self) -> None:
        """Close the idle connections and take no more calls; calls under way end, and then theirs are closed too."""
        self._pools.close()
        await trio.lowlevel.checkpoint()

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send `request`, follow redirects as Go does, and return the whole response, whatever its status.

        Raises `HttpFault` when no whole response was received, or the client is closed.
        """
        response = await self._send_once(request)
        if response.status not in REDIRECTS:
            return response
        return await self._follow(request, response)

    async def _follow(self, first: HttpRequest, response: HttpResponse) -> HttpResponse:
        hop = Hop(request=first)
        for _ in range(self._limits.redirects_max - 1):
            following = _next_hop(first, hop, response)
            if following is None:
                return response
            hop = following
            response = await self._send_once(hop.request)
        if _next_hop(first, hop, response) is None:
            return response
        raise HttpFault(
            f"{_name(first)}: stopped after {self._limits.redirects_max} redirects, at {shown(hop.request.url)}"
        )

    async def _send_once(self, request: HttpRequest) -> HttpResponse:
        try:
            url = parse_url(request.url)
            headers = render_headers(request.headers)
            route = self._route(url.origin)
            data = render_request(request.method, url, headers, request.body, forwarder=route.forwarder)
            return await self._call(route, request.method, data, is_last=headers.asks_close)
        except HttpFault as fault:
            raise HttpFault(f"{_name(request)}: {fault}") from fault

    async def _call(self, route: Route, method: str, data: bytes, *, is_last: bool) -> HttpResponse:
        """Take a slot, send `data` in it, and give the slot back, with the connection if that is clean."""
        pool = self._pools.pool(route.key)
        try:
            connection = pool.acquire_nowait()
        except trio.WouldBlock:
            connection = await pool.wait_acquire()
        is_kept = False
        try:
            if self._pools.is_closed:
                raise HttpFault("the HTTP client is closed")
            while connection is not None and not await _is_usable(connection):
                connection.close()
                connection = pool.swap()
            parser = self._new_parser(method)
            response = None if connection is None else await _exchange_if_alive(connection, data, parser)
            if response is None:
                if connection is not None:
                    connection.close()
                connection = await self._open(route)
                response = await exchange(connection.stream, data, parser)
            is_kept = parser.is_reusable and not is_last
            return response
        except BrokenExchangeError as error:
            raise HttpFault(f"{error.phase} {route}: {error}") from error
        finally:
            if connection is not None and not is_kept:
                connection.close()
            self._pools.release(route.key, connection if is_kept else None)

    async def _open(self, route: Route) -> Connection:
        if self._tls is None and route.is_encrypted:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return await open_connection(route, self._tls, timeout_s=self._limits.connect_timeout_s)

    def _route(self, origin: Origin) -> Route:
        route = self._routes.get(origin.endpoint)
        if route is None:
            route = plan_route(origin, self._proxy_rules.proxy_for(origin))
            if len(self._routes) >= _ROUTES_MAX:
                self._routes.clear()
            self._routes[origin.endpoint] = route
        return route

    def _new_parser(self, method: str) -> ResponseParser:
        limits = self._limits
        return ResponseParser(method=method, headers_max=limits.response_headers_max, body_max=limits.response_body_max)


async def _is_usable(connection: Connection) -> bool:
    return connection.is_quiet_nowait() if connection.is_plain else await connection.is_quiet()


async def _exchange_if_alive(connection: Connection, data: bytes, parser: ResponseParser) -> HttpResponse | None:
    """Do an exchange over a connection that was used before; None when it was dead, and `parser` is then untouched."""
    try:
        return await exchange(connection.stream, data, parser)
    except BrokenExchangeError as error:
        # The other side may have closed it just as this request set out. The request is then sent once more. It may
        # have arrived the first time, POST or not; participants have to accept repeats anyway, for after a crash
        # the engine repeats every call whose outcome it does not know.
        if error.is_begun:
            raise
        return None


def _next_hop(first: HttpRequest, hop: Hop, response: HttpResponse) -> Hop | None:
    try:
        return next_hop(first, hop, response)
    except HttpFault as fault:
        raise HttpFault(f"{_name(hop.request)}: {fault}") from fault


def _name(request: HttpRequest) -> str:
    method = request.method if request.method.isalpha() and request.method.isascii() else ascii(request.method)
    return f"{method} {shown(request.url)}"
