"""Starting and stopping the server: addresses, ports in use, requests that are under way."""

from __future__ import annotations

import socket
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from flowtx.dtm.listening import BindError, listen
from flowtx.dtm.orders import STEPS_MAX, saga_of
from flowtx.dtm.wire.requests import TransactionRequest
from flowtx.server import limits_of, serve
from flowtx.settings import Settings

NOTHING: dict[str, str] = {}


async def exchange(url: str, request: bytes) -> bytes:
    """Send bytes on a new connection and read until it is closed."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(request)
        received = b""
        async for part in stream:
            received += part
        return received


def settings_at(tmp_path: Path, bind: str = "127.0.0.1:0") -> Settings:
    return Settings(db=f"sqlite:///{tmp_path}/flowtx.db", bind=bind, grpc_bind="off", grace_s=1.0)


async def test_port_zero_is_answered_with_the_real_address(tmp_path: Path, nursery: trio.Nursery) -> None:
    stop = trio.Event()
    url: str = await nursery.start(partial(serve, settings_at(tmp_path), shutdown=stop.wait))
    assert url.startswith("http://127.0.0.1:")
    assert not url.endswith(":0")
    answer = await exchange(url, b"GET /api/ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert answer.endswith(b'{"msg":"pong"}')
    stop.set()


async def test_a_port_in_use_is_said_by_name(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BindError, match=f"cannot listen on {bind}: the port is in use"):
            await serve(settings_at(tmp_path, bind))
    assert not (tmp_path / "flowtx.db").exists(), "nothing is touched before the address is known to be free"


async def test_an_address_that_is_not_ours_is_said_by_name() -> None:
    with pytest.raises(BindError, match=r"cannot listen on 192\.0\.2\.1:0"):
        listen("192.0.2.1:0")


async def test_a_stopped_server_ends_what_is_under_way_and_can_be_started_again(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    stop, stopped = trio.Event(), trio.Event()
    settings = settings_at(tmp_path)

    async def serve_until_stopped(task_status: trio.TaskStatus[str]) -> None:
        await serve(settings, shutdown=stop.wait, task_status=task_status)
        stopped.set()

    url: str = await nursery.start(serve_until_stopped)
    body = b'{"gid":"g","trans_type":"saga","steps":[{"action":"%s/api/ping"}],"payloads":["1"],"wait_result":true}'
    body %= url.encode()
    request = b"POST /api/dtmsvr/submit HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(
        body
    )
    assert b"SUCCESS" in await exchange(url, request + body)
    stop.set()
    with trio.fail_after(30):
        await stopped.wait()
    again = trio.Event()
    bind = url.removeprefix("http://")
    url = await nursery.start(partial(serve, settings_at(tmp_path, bind), shutdown=again.wait))
    answer = await exchange(url, b"GET /api/dtmsvr/all?gid=g HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert b'"status":"succeed"' in answer
    again.set()


@pytest.mark.parametrize(
    ("steps", "payloads"),
    [
        ((), ()),
        ((NOTHING,), (b"x" * 900_000,)),
        ((NOTHING,) * STEPS_MAX, (b"",) * STEPS_MAX),
        (({"action": "\0" * 150_000},), (b"",)),
    ],
)
def test_the_engine_takes_every_input_that_a_body_can_make(
    steps: tuple[dict[str, str], ...], payloads: tuple[bytes, ...]
) -> None:
    settings = Settings(body_max_bytes=1_000_000, payload_bytes_max=1)
    request = TransactionRequest(trans_type="saga", steps=steps, payloads=payloads)
    assert len(msgspec.json.encode([saga_of(request, settings)])) <= limits_of(settings).payload_bytes_max


async def test_an_idle_connection_is_closed_in_time_and_not_before(tmp_path: Path, nursery: trio.Nursery) -> None:
    stop = trio.Event()
    settings = replace(settings_at(tmp_path), keep_alive_s=0.3)
    url: str = await nursery.start(partial(serve, settings, shutdown=stop.wait))
    request = b"GET /api/ping HTTP/1.1\r\nhost: x\r\n\r\n"
    began = trio.current_time()
    answer = await exchange(url, request + request)
    assert answer.count(b"pong") == 2
    assert 0.3 <= trio.current_time() - began < 5
    stop.set()


async def test_a_client_that_hangs_up_does_not_stop_its_saga(tmp_path: Path, nursery: trio.Nursery) -> None:
    stop = trio.Event()
    url: str = await nursery.start(partial(serve, settings_at(tmp_path), shutdown=stop.wait))
    body = (
        b'{"gid":"g","trans_type":"saga","steps":[{"action":"http://127.0.0.1:1"}],"payloads":["1"],"wait_result":true}'
    )
    host, _, port = url.removeprefix("http://").rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(
            b"POST /api/dtmsvr/submit HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )
        await stream.send_eof()
    look = b"GET /api/dtmsvr/all?gid=g HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    with trio.fail_after(30):
        # Twice the interval: the step was tried in spite of it.
        while b'"next_cron_interval":20' not in await exchange(url, look):  # noqa: ASYNC110 - seen through a socket
            await trio.sleep(0.02)
    stop.set()
