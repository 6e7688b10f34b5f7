"""What becomes of a call when the answer cannot be taken, or nobody is there: a fault that says what happened.

And of large requests, where sending and receiving can get into each other's way.
"""

import contextlib
import gzip
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

import pytest
import trio
from trio.testing import MockClock

from flowtx_engine.calls.http import HttpClient, HttpLimits
from flowtx_engine.calls.http_types import HttpFault, HttpRequest

# What trio wants a resolver to return.
AddressInfo = (
    tuple[Literal[socket.AddressFamily.AF_INET], socket.SocketKind, int, str, tuple[str, int]]
    | tuple[
        Literal[socket.AddressFamily.AF_INET6],
        socket.SocketKind,
        int,
        str,
        tuple[str, int, int, int] | tuple[int, bytes],
    ]
)


async def serve(nursery: trio.Nursery, handler: Callable[[trio.SocketStream], Awaitable[None]]) -> str:
    """Serve every connection with `handler` and return host and port."""
    listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
    return f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"


def answering(answer: bytes, *, closes: bool = True) -> Callable[[trio.SocketStream], Awaitable[None]]:
    """Return a handler that sends `answer` to the first thing it receives."""

    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        if not closes:
            await stream.receive_some()

    return handler


def new_client(**limits: int | float) -> HttpClient:
    return HttpClient(HttpLimits(**limits), environ={})  # type: ignore[arg-type]  # the names are checked when it runs


def post(url: str, body: bytes = b"{}", *headers: tuple[str, str]) -> HttpRequest:
    return HttpRequest(method="POST", url=url, headers=headers, body=body)


def get(url: str, *headers: tuple[str, str]) -> HttpRequest:
    return HttpRequest(method="GET", url=url, headers=headers)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789", "body of the answer is longer than 8 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n", "longer than 8 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n123456789", "longer than 8 bytes"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100, "headers of the answer are longer than 64 bytes"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100 + b"\r\n\r\n", "headers of the answer are longer than 64 bytes"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 4, "headers of the answer are longer than 64 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked \t\r\n\r\n0\r\n\r\n", "transfer encoding 'chunked'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "transfer encoding 'gzip'"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "switches to another protocol",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", r"not an HTTP/1\.1 response: .* received b'SSH-2.0"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "says that its body is in gzip"),
    ],
)
async def test_an_answer_that_cannot_be_taken_is_a_fault(nursery: trio.Nursery, answer: bytes, told: str) -> None:
    place = await serve(nursery, answering(answer))
    async with new_client(response_body_max=8, response_headers_max=64) as client:
        with pytest.raises(HttpFault, match=told) as caught:
            await client.send(post(f"http://{place}/pay"))
        assert str(caught.value).startswith(f"POST http://{place}/pay: receive from {place}: ")
        assert client.statistics() == {}


async def test_a_length_beyond_the_limit_is_refused_before_the_body_is_read(nursery: trio.Nursery) -> None:
    place = await serve(nursery, answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", closes=False))
    async with new_client() as client:
        with pytest.raises(HttpFault, match="the body of the answer is longer than 16777216 bytes"):
            await client.send(get(f"http://{place}/"))


async def test_trailers_without_end_are_a_fault(nursery: trio.Nursery) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"X: " + b"x" * 100 + b"\r\n")

    async with new_client() as client:
        with pytest.raises(HttpFault, match="the trailers of the answer are longer than 65536 bytes"):
            await client.send(get(f"http://{await serve(nursery, handler)}/"))


async def test_a_small_answer_that_unpacks_to_a_huge_one_is_a_fault(nursery: trio.Nursery) -> None:
    bomb = gzip.compress(b"\0" * 10_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    place = await serve(nursery, answering(head + bomb))
    async with new_client(response_body_max=1_000_000) as client:
        with pytest.raises(HttpFault, match="longer than 1000000 bytes once it is decompressed"):
            await client.send(get(f"http://{place}/"))


async def test_nobody_listening_is_told_with_place_and_cause() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with new_client() as client:
        with pytest.raises(HttpFault) as caught:
            await client.send(post(f"http://bob:secret@127.0.0.1:{port}/pay"))
    assert str(caught.value) == (
        f"POST http://bob:***@127.0.0.1:{port}/pay: connect to 127.0.0.1:{port}: Connection refused; "
        "check that it is running and reachable"
    )


class Resolver(trio.abc.HostnameResolver):
    """Knows one name, takes forever over `slow.example`, and says of all others that they do not exist."""

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        await trio.lowlevel.checkpoint()
        if host == b"slow.example":
            await trio.sleep_forever()
        if host != b"xn--bb-fka.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        assert isinstance(port, int)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def getnameinfo(self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def test_a_name_without_address_is_told_as_such() -> None:
    trio.socket.set_custom_hostname_resolver(Resolver())
    async with new_client() as client:
        with pytest.raises(
            HttpFault, match=r"resolve nobody\.example: the name has no address \(Name or service not known"
        ):
            await client.send(post("http://nobody.example:8081/pay"))


async def test_a_name_outside_ascii_is_called_by_its_ascii_form(nursery: trio.Nursery) -> None:
    received: list[bytes] = []

    async def handler(stream: trio.SocketStream) -> None:
        received.append(bytes(await stream.receive_some()))
        await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    trio.socket.set_custom_hostname_resolver(Resolver())
    port = (await serve(nursery, handler)).rpartition(":")[2]
    async with new_client() as client:
        await client.send(get(f"http://BÖB.example:{port}/ä?ü=%C3%BC"))
    (request,) = received
    assert request.startswith(f"GET /%C3%A4?%C3%BC=%C3%BC HTTP/1.1\r\nHost: xn--bb-fka.example:{port}\r\n".encode())


async def test_connecting_ends_at_its_limit(autojump_clock: MockClock) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver())
    async with new_client(connect_timeout_s=7) as client:
        with pytest.raises(HttpFault, match=r"connect to slow\.example:80: no connection within 7 s"):
            await client.send(get("http://slow.example/"))
        assert trio.current_time() == 7
        assert client.statistics() == {}


def test_a_limit_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"HttpLimits\.connections_per_host_max is 0; expected more than 0"):
        HttpLimits(connections_per_host_max=0)
    with pytest.raises(ValueError, match=r"HttpLimits\.connect_timeout_s is 0\.0; expected more than 0"):
        HttpLimits(connect_timeout_s=0.0)


# Large requests


async def test_an_answer_before_the_whole_request_was_read_is_the_answer(nursery: trio.Nursery) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some(100)
        await stream.send_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        await trio.sleep_forever()

    async with new_client() as client:
        response = await client.send(post(f"http://{await serve(nursery, handler)}/", b"x" * 50_000_000))
        assert response.status == 413
        assert client.statistics() == {}, "half a request was sent, so the connection is of no more use"


async def test_both_sides_may_send_more_than_the_buffers_hold(nursery: trio.Nursery) -> None:
    size = 30_000_000

    async def handler(stream: trio.SocketStream) -> None:
        head = await stream.receive_some(100)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        await stream.send_all(b"y" * size)
        rest_count = size
        while rest_count > 0:
            rest_count -= len(await stream.receive_some()) + (len(head.partition(b"\r\n\r\n")[2]))
            head = b""

    async with new_client(response_body_max=size) as client:
        response = await client.send(post(f"http://{await serve(nursery, handler)}/", b"x" * size))
        assert len(response.body) == size


async def test_a_connection_that_breaks_in_a_large_request_is_a_fault_that_says_so(nursery: trio.Nursery) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some(100)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async with new_client() as client:
        with pytest.raises(
            HttpFault, match=r"(send to|receive from) 127\.0\.0\.1:\d+: .*Connection reset by peer|Broken pipe"
        ):
            await client.send(post(f"http://{await serve(nursery, handler)}/", b"x" * 50_000_000))
        assert client.statistics() == {}
