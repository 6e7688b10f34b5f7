"""The clients' drivers on real sockets: threads, trio and asyncio against one scripted server, and `flowtx serve`."""

from __future__ import annotations

import asyncio
import functools
import http.server
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import trio

from flowtx.client.answers import FoundTransaction
from flowtx.client.async_client import AsyncDtmClient
from flowtx.client.errors import ServerRefused, ServerUnreachable
from flowtx.client.options import Options
from flowtx.client.saga import Saga, SagaStep
from flowtx.client.sync_client import DtmClient

T = TypeVar("T")
SILENT_S = 20.0
Asked = tuple[str, str, str | None, bytes]


class Server(http.server.ThreadingHTTPServer):
    """Answers by path, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[Asked] = []
        self.answers: dict[str, tuple[int, bytes]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        server.asked.append((self.command, self.path, self.headers.get("Content-Type"), body))
        status, answer = server.answers.get(self.path, (200, b'{"dtm_result":"SUCCESS"}'))
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


class Client:
    """One of the three drivers, seen as the synchronous one."""

    def __init__(self, runner: str, url: str, timeout_s: float) -> None:
        self._runner, self._url, self._timeout_s = runner, url, timeout_s

    def new_gid(self) -> str:
        return self._run(lambda dtm: dtm.new_gid(), lambda dtm: dtm.new_gid())

    def submit(self, saga: Saga) -> None:
        return self._run(lambda dtm: dtm.submit(saga), lambda dtm: dtm.submit(saga))

    def query(self, gid: str) -> FoundTransaction | None:
        return self._run(lambda dtm: dtm.query(gid), lambda dtm: dtm.query(gid))

    def force_stop(self, gid: str) -> None:
        return self._run(lambda dtm: dtm.force_stop(gid), lambda dtm: dtm.force_stop(gid))

    def _run(self, sync: Callable[[DtmClient], T], asynchronous: Callable[[AsyncDtmClient], Awaitable[T]]) -> T:
        async def main() -> T:
            async with AsyncDtmClient(self._url, timeout_s=self._timeout_s) as dtm:
                return await asynchronous(dtm)

        match self._runner:
            case "threads":
                return sync(DtmClient(self._url, timeout_s=self._timeout_s))
            case "trio":
                return trio.run(main)
            case _:
                return asyncio.run(main())


@pytest.fixture(params=["threads", "trio", "asyncio"])
def make(request: pytest.FixtureRequest) -> Callable[..., Client]:
    def made(url: str, timeout_s: float = 10.0) -> Client:
        return Client(request.param, url, timeout_s)

    return made


def saga(gid: str, action: str, *, wait_result: bool = False) -> Saga:
    return Saga(gid=gid, steps=(SagaStep(action=action, payload={"a": 1}),), options=Options(wait_result=wait_result))


def test_requests_go_out_and_answers_come_back(make: Callable[..., Client], server: Server) -> None:
    server.answers["/api/dtmsvr/newGid"] = (200, b'{"dtm_result":"SUCCESS","gid":"g-7"}')
    server.answers["/api/dtmsvr/query?gid=g-7"] = (200, b'{"branches":[],"transaction":null}')
    dtm = make(server.url)
    assert dtm.new_gid() == "g-7"
    dtm.submit(saga("g-7", "http://a"))
    assert dtm.query("g-7") is None
    assert [(method, path, kind) for method, path, kind, _ in server.asked] == [
        ("GET", "/api/dtmsvr/newGid", None),
        ("POST", "/api/dtmsvr/submit", "application/json"),
        ("GET", "/api/dtmsvr/query?gid=g-7", None),
    ]
    assert b'"gid":"g-7"' in server.asked[1][3]


def test_a_refusal_comes_back_with_its_body(make: Callable[..., Client], server: Server) -> None:
    server.answers["/api/dtmsvr/submit"] = (409, b'{"dtm_result":"FAILURE","message":"no FAILURE"}')
    with pytest.raises(ServerRefused) as raised:
        make(server.url).submit(saga("g-7", "http://a"))
    assert raised.value.body == '{"dtm_result":"FAILURE","message":"no FAILURE"}'


def test_a_server_that_is_not_there_is_unreachable(make: Callable[..., Client]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(ServerUnreachable, match=r"newGid had no whole answer: .+"):
            make(f"http://127.0.0.1:{nobody.getsockname()[1]}").new_gid()


@contextmanager
def raw_server(answer: bytes, *, then_silent: bool) -> Generator[str]:
    """Takes one connection, sends these bytes, and then is silent or hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
                if then_silent:
                    done.wait(SILENT_S)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        done.set()
        thread.join(20)


def test_a_server_that_keeps_silent_is_unreachable(make: Callable[..., Client]) -> None:
    with raw_server(b"", then_silent=True) as url:
        begun = time.monotonic()
        with pytest.raises(ServerUnreachable, match="newGid"):
            make(url, 0.2).new_gid()
        assert time.monotonic() - begun < SILENT_S / 2  # given up by the client, not by the server


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", b"\x00\x01\x02\r\n\r\n", b"HTTP/1.1 2"]
)
def test_an_answer_cut_short_is_no_answer(make: Callable[..., Client], answer: bytes) -> None:
    with raw_server(answer, then_silent=False) as url, pytest.raises(ServerUnreachable, match="newGid"):
        make(url).new_gid()


def test_an_endless_answer_is_not_read_to_its_end(make: Callable[..., Client]) -> None:
    flood = b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n" + b" " * 20_000_000
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(flood)
            except OSError:
                return  # hung up on, as it should be

    thread = threading.Thread(target=serve)
    thread.start()
    with listener, pytest.raises(ServerUnreachable, match="more than"):
        make(f"http://127.0.0.1:{listener.getsockname()[1]}").new_gid()
    thread.join(20)


def until_final(dtm: Client, gid: str) -> FoundTransaction:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = dtm.query(gid)
        if found is not None and found.is_final:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{gid} is not final: {dtm.query(gid)}")


def test_flowtx_serve_runs_a_saga(make: Callable[..., Client], server: Server, flowtx_url: str) -> None:
    dtm = make(flowtx_url)
    gid = dtm.new_gid()
    dtm.submit(saga(gid, f"{server.url}/out"))
    found = until_final(dtm, gid)
    assert (found.status, found.pattern) == ("succeed", "saga")
    assert [(branch.op, branch.status) for branch in found.branches] == [
        ("compensate", "prepared"),
        ("action", "succeed"),
    ]
    assert [(path.partition("?")[0], body) for _, path, _, body in server.asked] == [("/out", b'{"a":1}')]
    dtm.submit(saga(dtm.new_gid(), f"{server.url}/out", wait_result=True))
    with pytest.raises(ServerRefused, match="force stop"):
        dtm.force_stop(gid)
    assert dtm.query("nobody") is None


def test_flowtx_serve_refuses_a_saga_that_failed(make: Callable[..., Client], server: Server, flowtx_url: str) -> None:
    server.answers = {}
    dtm = make(flowtx_url)
    gid = dtm.new_gid()
    path = f"/no?branch_id=01&gid={gid}&op=action&trans_type=saga"
    server.answers[path] = (409, b"no money")
    with pytest.raises(ServerRefused, match="no money"):
        dtm.submit(saga(gid, f"{server.url}/no", wait_result=True))
    assert until_final(dtm, gid).status == "failed"
