"""Connections to participants: opened directly or through a proxy, plain or with TLS.

Law: a connection that cannot be opened is an `HttpFault` which names the phase (resolve or connect), the place and the
cause, and it leaves no socket behind. TLS is always verified.
"""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from typing import cast

import trio

from flowtx_engine.calls.http_request import render_connect
from flowtx_engine.calls.http_response import ResponseParser
from flowtx_engine.calls.http_socket import NothingToReadError, SocketTransport
from flowtx_engine.calls.http_types import HttpFault
from flowtx_engine.calls.http_url import Origin

_TUNNEL_ANSWER_MAX = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a connection leads: to `origin`, directly or through `tunnel`, or to `forwarder`.

    A forwarder is a proxy that is given whole URLs and calls any origin, so that its connections serve them all; then
    `origin` is None. A tunnel is a proxy that passes on bytes. Routes with the same `key` can share connections.
    """

    key: str
    origin: Origin | None = None
    tunnel: Origin | None = None
    forwarder: Origin | None = None

    def __str__(self) -> str:
        """Return the route as messages name it: `bob:8081`, `bob:443 through the proxy squid:3128`."""
        if self.origin is None:
            return f"the proxy {self.forwarder}"
        return str(self.origin) if self.tunnel is None else f"{self.origin} through the proxy {self.tunnel}"

    @property
    def first_stop(self) -> Origin:
        """Return what the TCP connection is opened to."""
        stop = self.tunnel or self.forwarder or self.origin
        assert stop is not None, self.key
        return stop

    @property
    def is_encrypted(self) -> bool:
        """Whether there is TLS anywhere on the way."""
        return any(stop is not None and stop.scheme == "https" for stop in (self.origin, self.tunnel, self.forwarder))


def plan_route(origin: Origin, proxy: Origin | None) -> Route:
    """Return the route to `origin`, through `proxy` unless that is None."""
    if proxy is None:
        return Route(key=origin.endpoint, origin=origin)
    if origin.scheme == "http":
        return Route(key=f"by {proxy.endpoint}", forwarder=proxy)
    return Route(key=f"{origin.endpoint} by {proxy.endpoint}", origin=origin, tunnel=proxy)


class Connection:
    """An open connection; `stream` is what is sent on and received from."""

    __slots__ = ("_transport", "stream")

    def __init__(self, stream: trio.abc.Stream, transport: SocketTransport) -> None:
        self.stream = stream
        self._transport = transport

    @property
    def is_plain(self) -> bool:
        """Whether bytes go over the socket as they are, so that `is_quiet_nowait` can answer."""
        return self.stream is self._transport

    def is_quiet_nowait(self) -> bool:
        """Whether a plain idle connection can be used: still open, and nothing has come that nobody asked for."""
        return self._transport.is_quiet()

    async def is_quiet(self) -> bool:
        """Whether an idle connection can be used, TLS or not.

        With TLS the socket alone does not tell: session tickets may come at any time and are harmless, and a byte that
        nobody asked for may have been read already and wait in the TLS layer.
        """
        self._transport.is_probed = True
        try:
            await self.stream.receive_some(1)
        except NothingToReadError:
            return True
        except trio.BrokenResourceError:
            return False
        finally:
            self._transport.is_probed = False
        return False

    def close(self) -> None:
        """Close at once. TLS is not told: HTTP frames its messages, and nobody waits for this end."""
        self._transport.close()


async def open_connection(route: Route, tls: ssl.SSLContext | None, *, timeout_s: float) -> Connection:
    """Open a connection along `route`; `tls` must be given where the route needs it.

    Raises `HttpFault` when that fails or takes longer than `timeout_s` seconds.
    """
    with trio.move_on_after(timeout_s):
        transport = await _connect(route.first_stop)
        try:
            return Connection(await _dress(transport, route, tls), transport)
        except BaseException:
            transport.close()
            raise
    raise HttpFault(f"connect to {route}: no connection within {timeout_s:g} s; check that it is up and reachable")


def describe(error: BaseException) -> str:
    """Return what happened, in the words of the system or of TLS, without the wrappings."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}".replace("_", " ").lower().replace("tls", "TLS")
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    if isinstance(error, ExceptionGroup):
        group = cast("ExceptionGroup[Exception]", error)
        return ", ".join(sorted({describe(each) for each in group.exceptions}))
    return describe(error.__cause__) if error.__cause__ is not None else str(error) or type(error).__name__


async def _connect(place: Origin) -> SocketTransport:
    try:
        return SocketTransport.take_over(await trio.open_tcp_stream(place.host, place.port))
    except socket.gaierror as error:
        cause = f"the name has no address ({error.strerror or error})"
        raise HttpFault(f"resolve {place.host}: {cause}; check the URL and the name service") from error
    except OSError as error:
        raise HttpFault(f"connect to {place}: {describe(error)}; check that it is running and reachable") from error


async def _dress(transport: SocketTransport, route: Route, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    """Put on the transport whatever the route needs: TLS to the first stop, a tunnel, TLS to the origin."""
    stream: trio.abc.Stream = transport
    if route.first_stop.scheme == "https":
        stream = await _encrypt(stream, route.first_stop, tls)
    if route.tunnel is None or route.origin is None:
        return stream
    await _tunnel(stream, route.origin, route.tunnel)
    return await _encrypt(stream, route.origin, tls)


async def _encrypt(stream: trio.abc.Stream, place: Origin, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    assert tls is not None, place
    # A final dot makes a name absolute for DNS; certificates never have it. Nor do they know of IPv6 zones.
    name = place.host.partition("%")[0].rstrip(".")
    # Not https_compatible: a peer that ends without saying so may have been cut off, and then a body that ends with
    # its connection is not whole.
    encrypted = trio.SSLStream(stream, tls, server_hostname=name)
    try:
        await encrypted.do_handshake()
    except trio.BrokenResourceError as error:
        hint = "check that it speaks TLS there, and the certificates of both sides"
        raise HttpFault(f"connect to {place}: the TLS handshake failed ({describe(error)}); {hint}") from error
    return encrypted


async def _tunnel(stream: trio.abc.Stream, origin: Origin, proxy: Origin) -> None:
    parser = ResponseParser(method="CONNECT", headers_max=_TUNNEL_ANSWER_MAX, body_max=0)
    try:
        await stream.send_all(render_connect(origin, proxy))
        while not parser.is_complete:
            data = await stream.receive_some()
            if data:
                parser.feed(data)
            else:
                parser.feed_end()
    except trio.BrokenResourceError as error:
        raise HttpFault(f"connect to {origin}: the proxy {proxy} broke the connection ({describe(error)})") from error
    except HttpFault as fault:
        raise HttpFault(f"connect to {origin}: no tunnel from the proxy {proxy}: {fault}") from fault
    status = parser.response().status
    if not 200 <= status < 300:
        raise HttpFault(f"connect to {origin}: the proxy {proxy} gives no tunnel to it (status {status})")
