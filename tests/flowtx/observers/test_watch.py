"""A whole server is watched: its metrics answer, its web hook is told, and traces pass through it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from urllib.request import Request, urlopen

import grpc
import pytest

import flowtx.testing
from flowtx.protobuf import make_message

WITHIN_S = 20.0
ARRIVED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Place:
    """An HTTP server that answers 500 at /down, 200 elsewhere, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: Queue[tuple[str, str | None, bytes]] = Queue()
        place = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                place.asked.put((self.path.partition("?")[0], self.headers["traceparent"], body))
                self.send_response(500 if self.path.startswith("/down") else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    thread = threading.Thread(target=place.server.serve_forever)
    thread.start()
    yield place
    place.server.shutdown()
    place.server.server_close()
    thread.join()


def submit(url: str, gid: str, action: str) -> None:
    body = {"gid": gid, "trans_type": "saga", "steps": [{"action": action}], "payloads": ["{}"], "wait_result": True}
    request = Request(f"{url}/api/dtmsvr/submit", json.dumps(body).encode(), {"traceparent": ARRIVED})
    with urlopen(request, timeout=WITHIN_S) as answer:
        answer.read()


def test_requests_and_calls_are_counted_and_a_trace_passes_through(place: Place) -> None:
    with flowtx.testing.server() as server:
        submit(server.url, "g-1", f"{place.url}/fine")
        assert place.asked.get(timeout=WITHIN_S)[:2] == ("/fine", ARRIVED)
        with urlopen(f"{server.url}/api/metrics", timeout=WITHIN_S) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            lines = answer.read().decode().splitlines()
    for line in (
        'dtm_server_process_total{api="submit",status="ok",type="http"} 1.0',
        'dtm_transaction_process_total{model="saga",status="ok"} 1.0',
        'dtm_branch_process_total{branchid="01",branchtype="action",model="saga",status="ok"} 1.0',
        'flowtx_calls_total{kind="http",outcome="succeeded"} 1.0',
    ):
        assert line in lines
    assert "g-1" not in "\n".join(lines)


def test_over_grpc_it_is_the_same(place: Place) -> None:
    steps = json.dumps([{"action": f"{place.url}/fine"}])
    request = make_message(
        "DtmRequest", Gid="g-1", TransType="saga", Steps=steps, BinPayloads=[b"{}"], TransOptions={"WaitResult": True}
    )
    with flowtx.testing.server() as server:
        with grpc.insecure_channel(server.grpc_address) as channel:
            submit_over: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/dtmgimp.Dtm/Submit")
            submit_over(request.SerializeToString(), timeout=WITHIN_S, metadata=(("traceparent", ARRIVED),))
            with pytest.raises(grpc.RpcError):
                submit_over(b"\xff", timeout=WITHIN_S)
        assert place.asked.get(timeout=WITHIN_S)[:2] == ("/fine", ARRIVED)
        with urlopen(f"{server.url}/api/metrics", timeout=WITHIN_S) as answer:
            lines = answer.read().decode().splitlines()
    assert 'dtm_server_process_total{api="submit",status="ok",type="grpc"} 1.0' in lines
    assert 'dtm_server_process_total{api="submit",status="fail",type="grpc"} 1.0' in lines


def test_the_web_hook_is_told_of_a_branch_that_keeps_failing(place: Place) -> None:
    with flowtx.testing.server(alert_web_hook=f"{place.url}/hook", alert_retry_limit=2) as server:
        server.set(recovery_enabled=False)
        with pytest.raises(Exception, match="409"):
            submit(server.url, "g-1", f"{place.url}/down")
        assert place.asked.get(timeout=WITHIN_S)[0] == "/down"
        server.cron_once(cron_forward_s=180)
        told = [place.asked.get(timeout=WITHIN_S) for _ in range(2)]
    assert sorted(path for path, _, _ in told) == ["/down", "/hook"]
    alert = next(json.loads(body) for path, _, body in told if path == "/hook")
    assert (alert["gid"], alert["branch"], alert["retry_count"], alert["status"]) == (
        "g-1",
        f"{place.url}/down",
        2,
        "submitted",
    )
