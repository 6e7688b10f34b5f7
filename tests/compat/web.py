"""The least of HTTP/1.1 that the compatibility tests need, on either side, over h11: nothing of the product helps.

The law of this file: every byte that matters to a test is visible in it: raw targets, repeated headers, exact bodies.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import h11
import trio

ANSWER_MAX_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


async def ask(
    base: str, method: str, target: str, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    """One request on a connection of its own; ``target`` goes out as it is."""
    place = urlsplit(base)
    assert place.hostname is not None, base
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 26)
    out = connection.send(
        h11.Request(
            method=method,
            target=target,
            headers=[("Host", place.netloc), ("Content-Length", str(len(body))), ("Connection", "close"), *headers],
        )
    )
    out += connection.send(h11.Data(data=body)) or b""
    out += connection.send(h11.EndOfMessage()) or b""
    with trio.fail_after(ANSWER_MAX_S):
        async with await trio.open_tcp_stream(place.hostname, place.port or 80) as stream:
            await stream.send_all(out)
            return await _read_answer(connection, stream)


async def _read_answer(connection: h11.Connection, stream: trio.SocketStream) -> Answer:
    response: h11.Response | None = None
    received = b""
    while True:
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            case h11.Response():
                response = event
            case h11.Data():
                received += bytes(event.data)
            case h11.EndOfMessage():
                assert response is not None
                names = {name.decode(): value.decode() for name, value in response.headers}
                return Answer(status=response.status_code, headers=names, body=received)
            case _:
                raise AssertionError(f"the server sent {event!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How a participant answers: after ``delay_s`` seconds, and once the path ``after`` was called, too.

    ``closes`` ends the connection afterwards.
    """

    status: int = 200
    body: bytes = b'{"dtm_result":"SUCCESS"}'
    delay_s: float = 0.0
    after: str = ""
    is_chunked: bool = False
    closes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that a participant got; header names in lower case, ``at`` by trio's clock."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def params(self) -> dict[str, str]:
        """The query, read."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


@dataclass
class Participant:
    """A participant that answers by script and remembers who called.

    A path without a script answers with success; the last reply of a script repeats.
    """

    url: str = ""
    calls: list[Call] = field(default_factory=list[Call])
    _scripts: dict[str, list[Reply]] = field(default_factory=dict[str, list[Reply]])
    _called: trio.Event = field(default_factory=trio.Event)

    def replies(self, path: str, *replies: Reply) -> None:
        """Answer calls of ``path`` with these in turn."""
        self._scripts[path] = list(replies)

    @property
    def paths(self) -> list[str]:
        """Which paths were called, in order."""
        return [call.path for call in self.calls]

    def calls_of(self, path: str) -> list[Call]:
        """The calls of one path."""
        return [call for call in self.calls if call.path == path]

    async def until_called(self, path: str, count: int = 1, *, timeout_s: float = ANSWER_MAX_S) -> None:
        """Wait until a path was called so often."""
        with trio.fail_after(timeout_s):
            while len(self.calls_of(path)) < count:
                await self._called.wait()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve on a port of the system until cancelled."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._converse, listeners)
            task_status.started()

    async def _converse(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 26)
        request: h11.Request | None = None
        body = b""
        try:
            while True:
                event = connection.next_event()
                match event:
                    case h11.NEED_DATA:
                        connection.receive_data(await stream.receive_some())
                    case h11.Request():
                        request, body = event, b""
                    case h11.Data():
                        body += bytes(event.data)
                    case h11.EndOfMessage():
                        assert request is not None
                        await self._reply(connection, stream, request, body)
                        connection.start_next_cycle()
                    case _:
                        return
        except (h11.ProtocolError, trio.BrokenResourceError):
            return  # the caller hung up

    async def _reply(
        self, connection: h11.Connection, stream: trio.SocketStream, request: h11.Request, body: bytes
    ) -> None:
        path, _, query = request.target.decode().partition("?")
        headers = {name.decode(): value.decode() for name, value in request.headers}
        call = Call(
            method=request.method.decode(), path=path, query=query, headers=headers, body=body, at=trio.current_time()
        )
        self.calls.append(call)
        called, self._called = self._called, trio.Event()
        called.set()
        script = self._scripts.get(path, [Reply()])
        reply = script.pop(0) if len(script) > 1 else script[0]
        await trio.sleep(reply.delay_s)
        if reply.after:
            await self.until_called(reply.after)
        length = ("Transfer-Encoding", "chunked") if reply.is_chunked else ("Content-Length", str(len(reply.body)))
        last = [("Connection", "close")] if reply.closes else []
        out = connection.send(h11.Response(status_code=reply.status, headers=[length, *last]))
        out += connection.send(h11.Data(data=reply.body)) or b""
        out += connection.send(h11.EndOfMessage()) or b""
        await stream.send_all(out)
