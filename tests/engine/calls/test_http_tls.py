"""TLS, directly and through proxies, against a server whose certificate the test makes."""

import contextlib
import ssl
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from flowtx_engine.calls.http import HttpClient, HttpLimits
from flowtx_engine.calls.http_types import HttpFault, HttpRequest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Authority:
    """Makes certificates, and the contexts of both sides."""

    def __init__(self) -> None:
        self._authority = trustme.CA()

    def write_to(self, path: Path) -> None:
        self._authority.cert_pem.write_to_path(str(path))

    def client_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        context.load_verify_locations(cadata=self._authority.cert_pem.bytes().decode())
        return context

    def server_context(self, *names: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with self._authority.issue_cert(*names).private_key_and_cert_chain_pem.tempfile() as path:
            context.load_cert_chain(path)
        return context


class TlsServer:
    """Answers every request with what it is told, and keeps what it saw."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.answer = OK
        self.says_goodbye = True
        self.hangs_up = False
        self.requests: list[bytes] = []
        self.protocols: list[str | None] = []
        self.asked_for: list[str | None] = []
        self.streams: list[trio.SSLStream[trio.SocketStream]] = []
        self.port = 0
        self.context = context
        context.sni_callback = self._keep_name

    @classmethod
    async def start(cls, nursery: trio.Nursery, context: ssl.SSLContext) -> "TlsServer":
        server = cls(context)
        listeners = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
        server.port = listeners[0].socket.getsockname()[1]
        return server

    def _keep_name(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self.asked_for.append(name)

    async def serve(self, transport: trio.SocketStream) -> None:
        stream = trio.SSLStream(transport, self.context, server_side=True)
        try:
            await stream.do_handshake()
            self.protocols.append(stream.selected_alpn_protocol())
            self.streams.append(stream)
            while request := await stream.receive_some():
                self.requests.append(bytes(request))
                await stream.send_all(self.answer)
                if self.hangs_up:
                    if self.says_goodbye:
                        await stream.aclose()
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the client does not trust us, or hung up as HTTP clients do
        finally:
            await trio.aclose_forcefully(transport)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def get(url: str) -> HttpRequest:
    return HttpRequest(method="GET", url=url)


def new_client(authority: Authority, **environ: str) -> HttpClient:
    return HttpClient(environ=environ, tls=authority.client_context())


async def test_a_verified_call_asks_for_its_host_and_for_http_1_1(nursery: trio.Nursery, authority: Authority) -> None:
    server = await TlsServer.start(nursery, authority.server_context("localhost"))
    async with new_client(authority) as client:
        for _ in range(3):
            response = await client.send(get(f"https://localhost:{server.port}/pay"))
            assert (response.status, response.body) == (200, b"ok")
    assert server.asked_for == ["localhost"], "one handshake served all calls"
    assert server.protocols == ["http/1.1"]


async def test_without_a_context_what_the_system_trusts_is_trusted_and_http_1_1_asked_for(
    nursery: trio.Nursery, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.write_to(tmp_path / "authorities.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authorities.pem"))
    server = await TlsServer.start(nursery, authority.server_context("localhost"))
    async with HttpClient(environ={}) as client:
        assert (await client.send(get(f"https://localhost:{server.port}/"))).body == b"ok"
    assert server.protocols == ["http/1.1"]


async def test_an_address_is_verified_like_a_name(nursery: trio.Nursery, authority: Authority) -> None:
    server = await TlsServer.start(nursery, authority.server_context("127.0.0.1"))
    async with new_client(authority) as client:
        assert (await client.send(get(f"https://127.0.0.1:{server.port}/"))).body == b"ok"


async def test_a_certificate_for_another_name_is_a_fault(nursery: trio.Nursery, authority: Authority) -> None:
    server = await TlsServer.start(nursery, authority.server_context("bob.example"))
    async with new_client(authority) as client:
        with pytest.raises(
            HttpFault, match=r"connect to localhost:\d+: .*certificate is not trusted: Hostname mismatch"
        ):
            await client.send(get(f"https://localhost:{server.port}/"))
        assert client.statistics() == {}
    assert server.requests == []


async def test_a_certificate_of_an_unknown_authority_is_a_fault(nursery: trio.Nursery, authority: Authority) -> None:
    server = await TlsServer.start(nursery, authority.server_context("localhost"))
    async with HttpClient(environ={}) as client:
        with pytest.raises(HttpFault, match="certificate is not trusted: unable to get local issuer certificate"):
            await client.send(get(f"https://localhost:{server.port}/"))
    assert server.requests == []


async def test_a_server_without_tls_is_a_fault_that_says_so(nursery: trio.Nursery, authority: Authority) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    async with new_client(authority) as client:
        with pytest.raises(HttpFault, match=r"the TLS handshake failed .*check that it speaks TLS there"):
            await client.send(get(f"https://127.0.0.1:{port}/"))


async def test_a_connection_closed_while_idle_is_noticed_before_it_is_used(
    nursery: trio.Nursery, authority: Authority
) -> None:
    server = await TlsServer.start(nursery, authority.server_context("localhost"))
    async with new_client(authority) as client:
        await client.send(get(f"https://localhost:{server.port}/"))
        await wait_all_tasks_blocked()
        await server.streams[0].aclose()
        assert (await client.send(get(f"https://localhost:{server.port}/"))).body == b"ok"
    assert len(server.requests) == len(server.streams) == 2


async def test_a_connection_on_which_something_came_unasked_is_not_used(
    nursery: trio.Nursery, authority: Authority
) -> None:
    server = await TlsServer.start(nursery, authority.server_context("localhost"))
    async with new_client(authority) as client:
        await client.send(get(f"https://localhost:{server.port}/"))
        await wait_all_tasks_blocked()
        await server.streams[0].send_all(b"HTTP/1.1 500 Evil\r\nContent-Length: 0\r\n\r\n")
        assert (await client.send(get(f"https://localhost:{server.port}/"))).status == 200
    assert len(server.streams) == 2


async def test_what_came_unasked_together_with_an_answer_is_not_taken_for_the_next(
    nursery: trio.Nursery, authority: Authority
) -> None:
    # Two TLS records that arrive at once: the socket is then quiet, and the second waits inside the TLS layer.
    server = await TwoRecordsServer.start(nursery, authority.server_context("localhost"))
    async with new_client(authority) as client:
        for _ in range(2):
            assert (await client.send(get(f"https://localhost:{server.port}/"))).status == 200
    assert server.asked_for == ["localhost", "localhost"], "the first connection is not used again"


class TwoRecordsServer(TlsServer):
    """Sends with each answer, in a TLS record of its own but in the same breath, another that nobody asked for."""

    async def serve(self, transport: trio.SocketStream) -> None:
        held = HoldingStream(transport)
        stream = trio.SSLStream(held, self.context, server_side=True)
        with contextlib.suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                held.is_holding = True
                await stream.send_all(OK)
                held.is_holding = False
                await stream.send_all(b"HTTP/1.1 500 Evil\r\nContent-Length: 0\r\n\r\n")
        await trio.aclose_forcefully(transport)


class HoldingStream(trio.abc.Stream):
    """Holds back what is sent while it is told to, and sends it together with the next."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.is_holding = False
        self._held = b""
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._held += data
        if not self.is_holding:
            held, self._held = self._held, b""
            await self._stream.send_all(held)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_a_body_that_ends_with_its_connection_must_say_goodbye(
    nursery: trio.Nursery, authority: Authority
) -> None:
    # Without TLS's own end anybody on the way could have cut the body short.
    server = await TlsServer.start(nursery, authority.server_context("localhost"))
    server.answer = b"HTTP/1.1 200 OK\r\n\r\nall of it"
    server.hangs_up = True
    async with new_client(authority) as client:
        assert (await client.send(get(f"https://localhost:{server.port}/"))).body == b"all of it"
        server.says_goodbye = False
        with pytest.raises(HttpFault, match=r"receive from localhost:\d+: the connection broke \(TLS: unexpected eof"):
            await client.send(get(f"https://localhost:{server.port}/"))


async def test_a_large_body_goes_both_ways(nursery: trio.Nursery, authority: Authority) -> None:
    size = 3_000_000

    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        received_count = -len((await stream.receive_some(100)).partition(b"\r\n\r\n")[0])
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"y" * size)
        while received_count < size:
            received_count += len(await stream.receive_some())

    context = authority.server_context("localhost")
    listeners = await nursery.start(partial(trio.serve_ssl_over_tcp, handler, 0, context, host="127.0.0.1"))
    port = listeners[0].transport_listener.socket.getsockname()[1]
    async with new_client(authority) as client:
        request = HttpRequest(method="POST", url=f"https://localhost:{port}/", body=b"x" * size)
        assert len((await client.send(request)).body) == size


class ConnectProxy:
    """Gives a tunnel to this machine, whatever name it is asked for."""

    def __init__(self, target_port: int) -> None:
        self.requests: list[bytes] = []
        self._target_port = target_port

    async def serve(self, stream: trio.abc.Stream) -> None:
        request = bytes(await stream.receive_some())
        self.requests.append(request)
        target = await trio.open_tcp_stream("127.0.0.1", self._target_port)
        await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with target, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, stream, target)
            await self._pump(target, stream)
            nursery.cancel_scope.cancel()

    async def _pump(self, source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some():
                await sink.send_all(data)


async def test_an_https_call_goes_through_a_tunnel_and_is_verified_end_to_end(
    nursery: trio.Nursery, authority: Authority
) -> None:
    server = await TlsServer.start(nursery, authority.server_context("bob.example"))
    proxy = ConnectProxy(server.port)
    listeners = await nursery.start(partial(trio.serve_tcp, proxy.serve, 0, host="127.0.0.1"))
    proxy_url = f"http://u:p@127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    async with new_client(authority, HTTPS_PROXY=proxy_url) as client:
        for _ in range(2):
            assert (await client.send(get("https://bob.example/pay"))).body == b"ok"
    (request,) = proxy.requests
    assert request.startswith(b"CONNECT bob.example:443 HTTP/1.1\r\nHost: bob.example:443\r\n")
    assert b"Proxy-Authorization: Basic dTpw\r\n" in request
    assert server.asked_for == ["bob.example"]
    assert server.requests[0].startswith(b"GET /pay HTTP/1.1\r\nHost: bob.example\r\n")
    assert b"Proxy-Authorization" not in server.requests[0]


async def test_the_proxy_itself_may_be_reached_over_tls(nursery: trio.Nursery, authority: Authority) -> None:
    server = await TlsServer.start(nursery, authority.server_context("bob.example"))
    proxy = ConnectProxy(server.port)
    context = authority.server_context("localhost")
    listeners = await nursery.start(partial(trio.serve_ssl_over_tcp, proxy.serve, 0, context, host="127.0.0.1"))
    port = listeners[0].transport_listener.socket.getsockname()[1]
    async with new_client(authority, HTTPS_PROXY=f"https://localhost:{port}") as client:
        for _ in range(2):
            assert (await client.send(get("https://bob.example/pay"))).body == b"ok"
    assert len(proxy.requests) == 1


async def test_a_handshake_that_does_not_go_on_ends_at_its_limit(
    nursery: trio.Nursery, authority: Authority, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            pass  # and never a word

    listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    limits = HttpLimits(connect_timeout_s=5)
    async with HttpClient(limits, environ={}, tls=authority.client_context()) as client:
        with pytest.raises(HttpFault, match=r"connect to 127\.0\.0\.1:\d+: no connection within 5 s"):
            await client.send(get(f"https://127.0.0.1:{port}/"))
        assert client.statistics() == {}
