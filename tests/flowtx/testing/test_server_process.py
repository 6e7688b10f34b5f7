"""A server for tests: started for a block, driven by hand, used from sync tests and from trio, ended with its block."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

import grpc
import pytest

import flowtx.testing
from flowtx.testing import ControlError, Round, ServerFailed

WITHIN_S = 20.0


class Shop(BaseHTTPRequestHandler):
    """A participant; what it answers is its class's to say."""

    status = 500

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(type(self).status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def shop() -> Iterator[tuple[type[Shop], str]]:
    class Mine(Shop):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Mine) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Mine, f"http://127.0.0.1:{server.server_address[1]}/sell"
        server.shutdown()
        thread.join()


def submit(url: str, gid: str, action: str) -> None:
    body = {"gid": gid, "trans_type": "saga", "steps": [{"action": action}], "payloads": ["{}"]}
    request = Request(f"{url}/api/dtmsvr/submit", json.dumps(body).encode())
    with urlopen(request, timeout=WITHIN_S) as answer:
        assert json.loads(answer.read()) == {"dtm_result": "SUCCESS"}


def status_of(url: str, gid: str) -> str | None:
    with urlopen(f"{url}/api/dtmsvr/query?gid={gid}", timeout=WITHIN_S) as answer:
        transaction = json.loads(answer.read())["transaction"]
    return None if transaction is None else str(transaction["status"])


def test_a_retry_comes_when_the_clock_is_moved_and_not_before(shop: tuple[type[Shop], str]) -> None:
    answers, action = shop
    with flowtx.testing.server() as server:
        submit(server.url, "g", action)
        assert server.processed(wait_s=WITHIN_S) == ["g"]
        server.wait_idle()
        assert status_of(server.url, "g") == "submitted"
        answers.status = 200
        server.advance(30)
        assert server.processed(wait_s=WITHIN_S) == ["g"]
        assert status_of(server.url, "g") == "succeed"
        server.reset()
        assert status_of(server.url, "g") is None


def test_what_has_ended_is_deleted_when_the_clock_is_moved_beyond_its_retention(shop: tuple[type[Shop], str]) -> None:
    answers, action = shop
    answers.status = 200
    with flowtx.testing.server(retention_s=3600) as server:
        submit(server.url, "g", action)
        assert server.processed(wait_s=WITHIN_S) == ["g"]
        server.advance(3500)
        assert status_of(server.url, "g") == "succeed"
        server.advance(200)
        until = time.monotonic() + WITHIN_S
        while status_of(server.url, "g") is not None:
            assert time.monotonic() < until, "it is kept"
            time.sleep(0.02)


def test_with_recovery_off_one_round_is_made_at_a_time(shop: tuple[type[Shop], str]) -> None:
    answers, action = shop
    with flowtx.testing.server() as server:
        server.set(recovery_enabled=False)
        submit(server.url, "g", action)
        assert server.processed(wait_s=WITHIN_S) == ["g"]
        server.advance(1000)
        found = server.cron_once(cron_forward_s=180)
        assert found.gid == "g"
        assert "500" in found.error
        answers.status = 200
        assert server.cron_once(cron_forward_s=180) == Round("g", "")
        assert server.cron_once(cron_forward_s=180) == Round("", "")
        assert server.processed() == ["g", "g"]


def test_grpc_has_an_address_of_its_own_unless_it_is_switched_off() -> None:
    with flowtx.testing.server() as server, grpc.insecure_channel(server.grpc_address) as channel:
        new_gid: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/dtmgimp.Dtm/NewGid")
        assert len(new_gid(b"", timeout=WITHIN_S)) > 13
    with flowtx.testing.server(grpc_bind="off") as server:
        assert server.grpc_address == ""


async def test_under_trio_it_is_the_same(shop: tuple[type[Shop], str]) -> None:
    answers, action = shop
    answers.status = 200
    async with flowtx.testing.server() as server:
        await server.set(recovery_enabled=False, async_start_delay_s=0.05)
        submit(server.url, "g", action)
        assert await server.processed(wait_s=WITHIN_S) == ["g"]
        await server.wait_idle()
        assert await server.advance(0) > 0
        assert await server.cron_once() == Round("", "")
        await server.reset()
        assert "AsyncServer http://127.0.0.1:" in repr(server)


def test_settings_reach_the_server_and_wrong_ones_are_told_in_its_words() -> None:
    with (
        pytest.raises(ServerFailed, match=r"heartbeat_s is 0\.0, expected at least"),
        flowtx.testing.server(heartbeat_s=0, app=["json"]),
    ):
        pytest.fail("it does not start")


def test_what_the_control_api_refuses_is_an_error_with_its_words() -> None:
    with flowtx.testing.server() as server:
        with pytest.raises(ControlError, match=r"answered 400: .*Expected `float` >= 0"):
            server.advance(-1)
        url = server.control_url
        for method, path, body in [
            ("PUT", "/settings", b'{"x":1}'),
            ("POST", "/cron-once", b"[]"),
            ("POST", "/advance", b""),
        ]:
            with pytest.raises(Exception, match="400"):
                urlopen(Request(url + path, body, method=method), timeout=WITHIN_S)
        with urlopen(f"{url}/ping", timeout=WITHIN_S) as answer:
            assert answer.status == 200
        with urlopen(f"{url}/state", timeout=WITHIN_S) as answer:
            assert json.loads(answer.read()) == {"in_flight": 0, "processed_pending": 0}
        with urlopen(Request(f"{url}/topics/refresh", b"", method="POST"), timeout=WITHIN_S) as answer:
            assert answer.status == 200
    with pytest.raises(ControlError, match="had no answer"):
        server.advance(1)
