"""The HTTP client against a server that follows a script, for what real servers seldom do."""

import gzip
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flowtx_engine.calls.http import HttpClient, HttpLimits
from flowtx_engine.calls.http_types import HttpFault, HttpRequest, HttpResponse

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Received:
    """A request as the server got it."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass(frozen=True)
class Answer:
    """What to send for one request, and whether to hang up after it."""

    data: bytes = OK
    closes: bool = False


class ScriptedServer:
    """Answers requests in the order in which they come, each as the script says, and keeps what it saw."""

    def __init__(self, answers: tuple[Answer | bytes, ...]) -> None:
        self.received: list[Received] = []
        self.connections_count = 0
        self.open_count = 0
        self.open_count_most = 0
        self.port = 0
        self._answers = iter(answers)
        self._hang_ups: list[trio.CancelScope] = []
        self._streams: list[trio.SocketStream] = []

    @classmethod
    async def start(cls, nursery: trio.Nursery, *answers: Answer | bytes, host: str = "127.0.0.1") -> "ScriptedServer":
        server = cls(answers)
        listeners = await nursery.start(partial(trio.serve_tcp, server._serve, 0, host=host))
        server.port = listeners[0].socket.getsockname()[1]
        return server

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def send_unasked(self, data: bytes) -> None:
        """Send on the newest connection what nobody asked for."""
        await self._streams[-1].send_all(data)

    async def hang_up(self) -> None:
        """Close the newest connection."""
        await self._streams[-1].aclose()

    async def wait_all_closed(self) -> None:
        """Wait until the client has closed every connection."""
        while self.open_count:
            await trio.lowlevel.checkpoint()

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections_count += 1
        number = self.connections_count
        self.open_count += 1
        self.open_count_most = max(self.open_count_most, self.open_count)
        self._streams.append(stream)
        try:
            while (request := await receive_request(stream, number)) is not None:
                self.received.append(request)
                answer = next(self._answers, OK)
                answer = Answer(answer) if isinstance(answer, bytes) else answer
                await stream.send_all(answer.data)
                if answer.closes:
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the client hung up, or the test did
        finally:
            self.open_count -= 1


async def receive_request(stream: trio.abc.ReceiveStream, connection: int) -> Received | None:
    data = bytearray()
    while b"\r\n\r\n" not in data:
        piece = await stream.receive_some()
        if not piece:
            return None
        data += piece
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    while len(body) < int(headers.get("Content-Length", "0")):
        body += await stream.receive_some()
    return Received(line=line, headers=headers, body=body, connection=connection)


async def serve(nursery: trio.Nursery, handler: Callable[[trio.SocketStream], Awaitable[None]]) -> str:
    """Serve every connection with `handler` and return the URL."""
    listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
    return f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"


def new_client(**limits: int | float) -> HttpClient:
    return HttpClient(HttpLimits(**limits), environ={})  # type: ignore[arg-type]  # the names are checked when it runs


def post(url: str, body: bytes = b"{}", *headers: tuple[str, str]) -> HttpRequest:
    return HttpRequest(method="POST", url=url, headers=headers, body=body)


def get(url: str, *headers: tuple[str, str]) -> HttpRequest:
    return HttpRequest(method="GET", url=url, headers=headers)


# What is sent


async def test_a_call_goes_out_as_dtm_sends_it(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery)
    async with new_client() as client:
        headers = (("Content-Type", "application/json"), ("test_header", "x"))
        response = await client.send(post(server.url("/pay?a=b&gid=g-1"), b'{"n":1}', *headers))
    assert response == HttpResponse(status=200, headers=(("content-length", "2"),), body=b"ok")
    assert server.received == [
        Received(
            line="POST /pay?a=b&gid=g-1 HTTP/1.1",
            headers={
                "Host": f"127.0.0.1:{server.port}",
                "Content-Length": "7",
                "Content-Type": "application/json",
                "Test_header": "x",
                "User-Agent": "flowtx",
                "Accept-Encoding": "gzip",
                "Accept": "application/json",
            },
            body=b'{"n":1}',
            connection=1,
        )
    ]


async def test_a_user_name_in_the_url_becomes_basic_authorization(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery)
    url = f"http://bob:s%40cret@127.0.0.1:{server.port}/"
    async with new_client() as client:
        await client.send(get(url))
        await client.send(get(url, ("Authorization", "Bearer t")))
    assert [each.headers["Authorization"] for each in server.received] == ["Basic Ym9iOnNAY3JldA==", "Bearer t"]
    assert server.received[0].headers["Host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    "request_",
    [
        post("http://127.0.0.1:1/\r\nX: y"),
        post("http://127.0.0.1:1/", b"", ("X", "a\r\nY: b")),
        post("http://127.0.0.1:1/", b"", ("X", "a\nb")),
        post("http://127.0.0.1:1/", b"", ("X: y\r\nZ", "a")),
        post("http://127.0.0.1:1/", b"", ("Host", "a\r\nY: b")),
        HttpRequest(method="GET / HTTP/1.1\r\nX: y\r\n\r\nGET", url="http://127.0.0.1:1/"),
    ],
)
async def test_what_would_break_out_of_its_line_is_never_sent(request_: HttpRequest) -> None:
    async with new_client() as client:
        with pytest.raises(HttpFault, match=r"control character|cannot|not a host|not a method|can carry") as caught:
            await client.send(request_)
    assert "connect" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_an_ipv6_literal_is_called_by_its_address(nursery: trio.Nursery) -> None:
    try:
        server = await ScriptedServer.start(nursery, host="::1")
    except OSError as error:
        pytest.skip(f"no IPv6 on the loopback interface ({error}); enable it: sysctl net.ipv6.conf.lo.disable_ipv6=0")
    async with new_client() as client:
        await client.send(get(f"http://[::1]:{server.port}/x"))
    assert server.received[0].headers["Host"] == f"[::1]:{server.port}"


# When a connection is used again


@pytest.mark.parametrize(
    ("answer", "connections_count"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 1),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\nA: b\r\n\r\n" + OK, 1),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 1),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 2),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 2),
        (OK + b"HTTP/1.1 200 OK\r\n", 2),
        (OK + b"x", 2),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 2),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", 2),
    ],
)
async def test_a_connection_is_used_again_only_when_it_is_clean(
    nursery: trio.Nursery, answer: bytes, connections_count: int
) -> None:
    server = await ScriptedServer.start(nursery, answer)
    async with new_client() as client:
        first = await client.send(post(server.url()))
        second = await client.send(post(server.url()))
    assert first.status in {200, 204, 304}
    assert second.body == b"ok"
    assert server.connections_count == connections_count


async def test_a_caller_that_asks_to_close_gets_a_connection_of_its_own(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery)
    async with new_client() as client:
        await client.send(post(server.url(), b"", ("Connection", "close")))
        await client.send(post(server.url()))
    assert server.connections_count == 2


async def test_the_answer_to_head_has_no_body_though_it_has_a_length(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    async with new_client() as client:
        response = await client.send(HttpRequest(method="HEAD", url=server.url()))
        assert response.header("Content-Length") == "1000"
        assert response.body == b""
        assert (await client.send(get(server.url()))).body == b"ok"
    assert server.connections_count == 1


async def test_a_body_after_the_answer_to_head_spoils_the_connection(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery, OK)
    async with new_client() as client:
        assert (await client.send(HttpRequest(method="HEAD", url=server.url()))).body == b""
        assert (await client.send(get(server.url()))).body == b"ok"
    assert server.connections_count == 2


async def test_a_body_without_length_goes_on_until_the_connection_ends(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery, Answer(b"HTTP/1.1 200 OK\r\n\r\nall of it", closes=True))
    async with new_client() as client:
        assert (await client.send(get(server.url()))).body == b"all of it"


async def test_a_connection_closed_while_idle_is_noticed_before_it_is_used(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery)
    async with new_client() as client:
        await client.send(post(server.url("/1")))
        await wait_all_tasks_blocked()
        await server.hang_up()
        await client.send(post(server.url("/2")))
    assert [each.connection for each in server.received] == [1, 2]


async def test_a_connection_on_which_something_came_unasked_is_not_used(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery)
    async with new_client() as client:
        await client.send(post(server.url()))
        await wait_all_tasks_blocked()
        await server.send_unasked(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        assert (await client.send(post(server.url()))).status == 200
    assert server.connections_count == 2


async def test_a_request_that_died_on_a_used_connection_is_sent_once_more(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery, OK, Answer(b"", closes=True), OK)
    async with new_client() as client:
        await client.send(post(server.url("/1")))
        assert (await client.send(post(server.url("/2"), b"body"))).body == b"ok"
    assert [(each.line, each.connection) for each in server.received] == [
        ("POST /1 HTTP/1.1", 1),
        ("POST /2 HTTP/1.1", 1),
        ("POST /2 HTTP/1.1", 2),
    ]
    assert server.received[1].body == server.received[2].body == b"body"


async def test_it_is_sent_no_more_than_once_more(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery, OK, Answer(b"", closes=True), Answer(b"", closes=True))
    async with new_client() as client:
        await client.send(post(server.url()))
        with pytest.raises(
            HttpFault, match=r"receive from 127\.0\.0\.1:\d+: the connection was closed before any answer came"
        ):
            await client.send(post(server.url()))
    assert len(server.received) == 3


async def test_a_request_that_died_on_a_fresh_connection_is_a_fault(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery, Answer(b"", closes=True))
    async with new_client() as client:
        with pytest.raises(
            HttpFault, match=r"receive from 127\.0\.0\.1:\d+: the connection was closed before any answer came"
        ):
            await client.send(post(server.url()))
    assert len(server.received) == 1


async def test_a_request_is_not_repeated_once_an_answer_has_begun(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery, OK, Answer(OK[:-1], closes=True))
    async with new_client() as client:
        await client.send(post(server.url()))
        with pytest.raises(
            HttpFault, match=r"receive from 127\.0\.0\.1:\d+: the connection was closed after 1 bytes .* expected 2"
        ):
            await client.send(post(server.url()))
    assert len(server.received) == 2


async def test_a_compressed_body_is_given_as_it_was(nursery: trio.Nursery) -> None:
    body = b'{"dtm_result":"SUCCESS"}' * 20
    answers = [
        (b"gzip", gzip.compress(body)),
        (b"GZip", gzip.compress(body[:50]) + gzip.compress(body[50:])),
        (b"deflate", zlib.compress(body)),
        (b"deflate", zlib.compress(body, wbits=-15)),
    ]
    script = [
        b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s" % (name, len(data), data)
        for name, data in answers
    ]
    server = await ScriptedServer.start(nursery, *script)
    async with new_client() as client:
        for _ in answers:
            assert await client.send(get(server.url())) == HttpResponse(status=200, headers=(), body=body)
    assert server.connections_count == 1


# Deadlines, limits, closing


async def test_a_cancelled_call_closes_its_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = await ScriptedServer.start(nursery, OK, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
    async with new_client() as client:
        await client.send(post(server.url()))
        with trio.move_on_after(3) as scope:
            await client.send(post(server.url()))
        assert scope.cancelled_caught
        assert client.statistics() == {}
        await server.wait_all_closed()


async def test_many_calls_share_the_connections_they_may_have(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery)
    answers: list[bytes] = []

    async def call(client: HttpClient, number: int) -> None:
        answers.append((await client.send(post(server.url(f"/{number}")))).body)

    async with new_client(connections_per_host_max=10, idle_connections_per_host_max=10) as client:
        async with trio.open_nursery() as calls:
            for number in range(200):
                calls.start_soon(call, client, number)
        (found,) = client.statistics().values()
        assert (found.slots_count, found.idle_count, found.waiting_count) == (10, 10, 0)
    assert answers == [b"ok"] * 200
    assert len({each.line for each in server.received}) == 200
    assert server.connections_count == server.open_count_most == 10


async def test_idle_connections_are_closed_after_their_time(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    old, new = await ScriptedServer.start(nursery), await ScriptedServer.start(nursery)
    async with new_client(idle_s=30) as client:
        await client.send(post(old.url()))
        mock_clock.jump(29)
        await client.send(post(new.url()))
        assert old.open_count == 1
        mock_clock.jump(16)
        await client.send(post(new.url()))
        await old.wait_all_closed()
        assert [each.connection for each in new.received] == [1, 1]
        mock_clock.jump(31)
        await client.send(post(new.url()))
        assert new.received[-1].connection == 2


async def test_a_closed_client_closes_what_is_idle_and_takes_no_calls(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery)
    client = new_client()
    await client.send(post(server.url()))
    await client.aclose()
    await server.wait_all_closed()
    with pytest.raises(HttpFault, match="the HTTP client is closed"):
        await client.send(post(server.url()))


async def test_calls_that_wait_when_the_client_is_closed_end_and_the_one_under_way_is_answered(
    nursery: trio.Nursery,
) -> None:
    may_answer = trio.Event()
    told: list[str] = []

    async def handler(stream: trio.SocketStream) -> None:
        await receive_request(stream, 1)
        await may_answer.wait()
        await stream.send_all(OK)
        assert await stream.receive_some() == b"", "the connection is closed, not kept"
        told.append("closed")

    async def call(url: str) -> None:
        try:
            told.append((await client.send(post(url))).body.decode())
        except HttpFault as fault:
            told.append(str(fault).rpartition(": ")[2])

    client = new_client(connections_per_host_max=1)
    url = await serve(nursery, handler)
    async with trio.open_nursery() as calls:
        calls.start_soon(call, url)
        await wait_all_tasks_blocked()
        calls.start_soon(call, url)
        await wait_all_tasks_blocked()
        await client.aclose()
        may_answer.set()
    await wait_all_tasks_blocked()
    assert sorted(told) == ["closed", "ok", "the HTTP client is closed"]


# Redirects (their rules have tests of their own)


def redirect(status: int, location: str) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


async def test_a_redirect_is_followed_on_the_same_connection(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery, redirect(307, "/b?c"), redirect(302, "d"))
    async with new_client() as client:
        response = await client.send(post(server.url("/a/x"), b"body", ("Content-Type", "application/json")))
    assert response.body == b"ok"
    assert [(each.line, each.body) for each in server.received] == [
        ("POST /a/x HTTP/1.1", b"body"),
        ("POST /b?c HTTP/1.1", b"body"),
        ("GET /d HTTP/1.1", b""),
    ]
    assert "Content-Type" not in server.received[2].headers
    assert server.received[2].headers["Referer"] == server.url("/b?c")
    assert server.connections_count == 1


async def test_a_redirect_without_location_is_the_answer(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery, b"HTTP/1.1 302 Found\r\nContent-Length: 4\r\n\r\nhere")
    async with new_client() as client:
        response = await client.send(post(server.url()))
    assert (response.status, response.body) == (302, b"here")


async def test_the_tenth_redirect_is_not_followed(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery, *(redirect(302, f"/{number}") for number in range(20)))
    async with new_client() as client:
        with pytest.raises(HttpFault, match=r"stopped after 10 redirects, at http://127\.0\.0\.1:\d+/8"):
            await client.send(get(server.url()))
    assert len(server.received) == 10


# Proxies (their rules have tests of their own)


async def test_a_plain_call_is_given_to_the_proxy_with_its_whole_url(nursery: trio.Nursery) -> None:
    proxy = await ScriptedServer.start(nursery)
    environ = {"HTTP_PROXY": f"http://u:p@127.0.0.1:{proxy.port}", "NO_PROXY": ".direct.example"}
    async with HttpClient(environ=environ) as client:
        await client.send(post("http://bob.example:8081/a?b"))
        await client.send(post("http://eve.example/c"))
    assert [each.line for each in proxy.received] == [
        "POST http://bob.example:8081/a?b HTTP/1.1",
        "POST http://eve.example/c HTTP/1.1",
    ]
    assert [each.headers["Host"] for each in proxy.received] == ["bob.example:8081", "eve.example"]
    assert proxy.received[0].headers["Proxy-Authorization"] == "Basic dTpw"
    assert proxy.connections_count == 1


async def test_loopback_is_never_called_through_a_proxy(nursery: trio.Nursery) -> None:
    server = await ScriptedServer.start(nursery)
    async with HttpClient(environ={"http_proxy": "http://127.0.0.1:1"}) as client:
        assert (await client.send(get(server.url()))).body == b"ok"


async def test_a_proxy_that_gives_no_tunnel_is_a_fault(nursery: trio.Nursery) -> None:
    proxy = await ScriptedServer.start(nursery, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nforbidden")
    async with HttpClient(environ={"HTTPS_PROXY": f"127.0.0.1:{proxy.port}"}) as client:
        with pytest.raises(HttpFault, match=r"connect to bob\.example:443: the proxy .* gives no tunnel .*403"):
            await client.send(post("https://bob.example/a"))
        assert client.statistics() == {}
    assert proxy.received[0].line == "CONNECT bob.example:443 HTTP/1.1"
