"""No client holds a connection for ever, keeps the server from stopping, or ends it for others (RFC 9112, RFC 9113)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import msgspec
import pytest
import trio
import trio.testing

from flowtx.dtm.connections import Sending
from flowtx.server import serve
from flowtx.settings import Settings

KEEP_ALIVE_S = 0.3
CLOSED_MAX_S = 20
GRACE_S = 0.5

GET = b"GET /api/ping HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /api/dtmsvr/submit HTTP/1.1\r\nHost: x\r\n"
UPGRADE = b"GET /api/ping HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream_id: int, body: bytes = b"") -> bytes:
    """A frame of HTTP/2."""
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + body


def request_of_h2(path: str, method: str = "GET") -> bytes:
    """The head of a request, as HTTP/2 writes it when it compresses nothing (RFC 7541, 6.2.2)."""
    head = {":method": method, ":path": path, ":scheme": "http", ":authority": "x"}
    texts = [text.encode() for pair in head.items() for text in pair]
    return b"".join(b"\0" * (at % 2 == 0) + bytes([len(text)]) + text for at, text in enumerate(texts))


@dataclass
class Served:
    """A server in this process, and the ports it listens on."""

    http: int = 0
    grpc: int = 0
    stop: trio.Event = field(default_factory=trio.Event)
    stopped: trio.Event = field(default_factory=trio.Event)

    async def run(self, settings: Settings, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until ``stop`` is set."""
        async with trio.open_nursery() as nursery:
            grpc_addresses: list[str] = []
            url: str = await nursery.start(
                partial(serve, settings, shutdown=self.stop.wait, grpc_started=grpc_addresses.append)
            )
            self.http, self.grpc = (int(address.rpartition(":")[2]) for address in (url, grpc_addresses[0]))
            task_status.started()
        self.stopped.set()

    async def connect(self, to: str) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", getattr(self, to))

    async def is_well(self) -> bool:
        async with await self.connect("http") as stream:
            await stream.send_all(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            return (await until_closed(stream)).endswith(b'{"msg":"pong"}')


async def until_closed(stream: trio.SocketStream) -> bytes:
    """What a server says until it hangs up."""
    received = b""
    with trio.fail_after(CLOSED_MAX_S):
        try:
            async for part in stream:
                received += part
        except trio.BrokenResourceError:  # it hung up on bytes that it had not read
            pass
    return received


@pytest.fixture
async def served(request: pytest.FixtureRequest, tmp_path: Path, nursery: trio.Nursery) -> AsyncGenerator[Served]:
    """A server; how long its connections may idle is the test's to say."""
    settings = Settings(
        db=f"sqlite:///{tmp_path}/flowtx.db",
        bind="127.0.0.1:0",
        grpc_bind="127.0.0.1:0",
        grace_s=GRACE_S,
        keep_alive_s=getattr(request, "param", KEEP_ALIVE_S),
    )
    served = Served()
    await nursery.start(partial(served.run, settings))
    yield served
    served.stop.set()


SILENT = {
    "nothing": b"",
    "half a request": b"GET /api/pi",
    "a request, and then nothing": GET,
    "a body that does not come": POST + b"Content-Length: 10\r\n\r\n{",
    "chunks that stop coming": POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "a body that waits to be asked for and does not come": POST + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    "the preface of HTTP/2": PREFACE,
    "the preface and settings of HTTP/2": PREFACE + frame(SETTINGS, 0, 0),
    "an upgrade to HTTP/2": UPGRADE + b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "an upgrade that lacks its key": UPGRADE + b"Upgrade: websocket\r\n\r\n",
    "a body over HTTP/2 that does not come": PREFACE
    + frame(SETTINGS, 0, 0)
    + frame(HEADERS, END_HEADERS, 1, request_of_h2("/api/dtmsvr/submit", "POST")),
}


@pytest.mark.parametrize("said", list(SILENT.values()), ids=list(SILENT))
@pytest.mark.parametrize("ends", [False, True], ids=["silent", "half-closed"])
async def test_a_connection_on_which_nothing_comes_any_more_is_closed(served: Served, said: bytes, ends: bool) -> None:
    async with await served.connect("http") as stream:
        await stream.send_all(said)
        if ends:
            await stream.send_eof()
        await until_closed(stream)


@pytest.mark.parametrize("said", [b"", PREFACE[:10], PREFACE, PREFACE + frame(SETTINGS, 0, 0)])
async def test_a_connection_without_a_call_is_closed_over_grpc_too(served: Served, said: bytes) -> None:
    async with await served.connect("grpc") as stream:
        await stream.send_all(said)
        await until_closed(stream)


async def test_a_body_that_does_not_come_is_answered_and_ends_the_connection(served: Served) -> None:
    async with await served.connect("http") as stream:
        await stream.send_all(POST + b"Content-Length: 10\r\n\r\n{")
        answer = await until_closed(stream)
    assert answer.startswith(b"HTTP/1.1 408")
    assert answer.endswith(b'{"message":"the body did not arrive within 0.3 s (keep_alive_s)"}')


async def test_a_body_that_is_already_answered_harms_nobody(served: Served) -> None:
    async with await served.connect("http") as stream, await served.connect("http") as other:
        await stream.send_all(PREFACE + frame(SETTINGS, 0, 0))
        await stream.send_all(frame(HEADERS, END_HEADERS, 1, request_of_h2("/nowhere")))
        with trio.fail_after(CLOSED_MAX_S):
            while b"404 page not found" not in await stream.receive_some():
                pass
        await stream.send_all(frame(DATA, 0, 1, b"late") * 3)
        await until_closed(stream)
        assert await served.is_well()
        await until_closed(other)


async def test_what_is_sent_while_another_task_has_the_connection_is_broken_off(nursery: trio.Nursery) -> None:
    # Hypercorn closes a connection in one task while another answers on it.
    ours, theirs = trio.socket.socketpair()
    async with trio.SocketStream(ours) as stream, trio.SocketStream(theirs):
        nursery.start_soon(stream.send_all, b"more than anybody takes" * 1_000_000)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError):
            await Sending().send(stream, b"an answer", wait_max_s=CLOSED_MAX_S)
        nursery.cancel_scope.cancel()


async def test_a_web_socket_is_refused_and_nothing_is_logged(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    for path in (b"/", b"/api/ping"):
        async with await served.connect("http") as stream:
            await stream.send_all(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + upgrade + key)
            assert (await until_closed(stream)).startswith(b"HTTP/1.1 403")
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]


async def test_no_tunnel_is_promised(served: Served) -> None:
    async with await served.connect("http") as stream:
        await stream.send_all(b"CONNECT /api/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await until_closed(stream)).endswith(b"404 page not found")


@pytest.mark.parametrize(
    "method", ["/grpc.health.v1.Health/Watch", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"]
)
async def test_a_message_that_cannot_be_read_does_not_keep_the_server_from_stopping(
    served: Served, method: str
) -> None:
    def call() -> grpc.StatusCode:
        with grpc.insecure_channel(f"127.0.0.1:{served.grpc}") as channel:
            asking: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            future = asking.future(b"\xff\xff", timeout=CLOSED_MAX_S)
            future.exception()
            return future.code()

    assert await trio.to_thread.run_sync(call) is grpc.StatusCode.INTERNAL
    served.stop.set()
    with trio.fail_after(GRACE_S + CLOSED_MAX_S):
        await served.stopped.wait()


@pytest.mark.parametrize("served", [CLOSED_MAX_S / 2], indirect=True)  # the order is long, and the machine may be busy
async def test_clients_that_do_not_read_their_answers_are_cut_off_and_the_server_stops_in_time(
    served: Served,
) -> None:
    # More than the system takes from a server on behalf of a client that does not read.
    order = {"gid": "big", "trans_type": "saga", "steps": [{"action": ""}], "payloads": ["x" * 8_000_000]}
    body = msgspec.json.encode(order)
    async with await served.connect("http") as stream:
        await stream.send_all(POST.replace(b"submit", b"prepare") + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert b"SUCCESS" in await until_closed(stream)
    deaf = [await deaf_client(served.http) for _ in range(3)]
    try:
        assert await served.is_well()
        served.stop.set()
        with trio.fail_after(GRACE_S + CLOSED_MAX_S):
            await served.stopped.wait()
    finally:
        for client in deaf:
            client.close()


async def deaf_client(port: int) -> trio.socket.SocketType:
    """A connection to which a long answer is on its way, of which next to nothing is read."""
    client = trio.socket.socket()
    client.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
    await client.connect(("127.0.0.1", port))
    await client.send(b"GET /api/dtmsvr/query?gid=big HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await client.recv(1) == b"H"
    return client
