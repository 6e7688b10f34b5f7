"""Two-branch sagas over HTTP with ``wait_result``, 64 connections, SQLite with a full fsync a commit.

Run as a script: ``make bench``. Server, participants and load generator are processes of their own; the latter two are
raw trio and httptools, so that they take as little of the machine as can be. Absolute numbers move with the machine, so
the rate is also given as a ratio to bare pings of the same server in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import httptools
import trio

ROOT = Path(__file__).parents[2]
CONNECTION_COUNT = 64
WARM_UP_S = 1.0
HERE = ("--bind", "127.0.0.1:0", "--grpc-bind", "off")
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 24\r\n\r\n" + b'{"dtm_result":"SUCCESS"}'
)


# -- the participants


class _Requests:
    """Counts the requests that have ended in what a parser was fed."""

    def __init__(self) -> None:
        self.ended_count = 0

    def on_message_complete(self) -> None:
        self.ended_count += 1


async def converse(stream: trio.SocketStream) -> None:
    """Answer every request of a connection with success."""
    requests = _Requests()
    parser = httptools.HttpRequestParser(requests)
    async for part in stream:
        parser.feed_data(part)
        if requests.ended_count:
            await stream.send_all(ANSWER * requests.ended_count)
            requests.ended_count = 0


async def participate() -> None:
    """Serve participants until killed; the first line on stdout is the URL."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", flush=True)
    await trio.serve_listeners(converse, listeners)


# -- the load


class _Answer:
    """The answer of one request."""

    def __init__(self) -> None:
        self.body = b""
        self.is_complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = True


async def ask(stream: trio.SocketStream, request: bytes) -> tuple[int, bytes]:
    """One exchange on an open connection."""
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    await stream.send_all(request)
    while not answer.is_complete:
        part = await stream.receive_some()
        assert part, "the server closed the connection"
        parser.feed_data(part)
    return parser.get_status_code(), answer.body


async def load(server: str, participants: str, seconds: float, pid: int) -> None:
    """Measure pings, then sagas; one line of JSON on stdout for each. ``pid`` is the server's, 0 when not known."""
    for what, request_of in (("ping", ping_of), ("saga", saga_maker(participants))):
        began_s = cpu_s_of(pid)
        times_s = await measure(server, request_of, seconds)
        times_s.sort()
        figures = {
            "what": what,
            "per_second": len(times_s) / seconds,
            "cpu_ms": 1000 * (cpu_s_of(pid) - began_s) / len(times_s) * seconds / (seconds + WARM_UP_S),
            "p50_ms": 1000 * times_s[len(times_s) // 2],
            "p99_ms": 1000 * times_s[len(times_s) * 99 // 100],
        }
        print(json.dumps(figures), flush=True)


async def measure(server: str, request_of: Callable[[str], bytes], seconds: float) -> list[float]:
    """How long each exchange took, over so many seconds after a warm-up."""
    host, _, port = server.removeprefix("http://").rpartition(":")
    begin_at = trio.current_time() + WARM_UP_S
    times_s: list[float] = []

    async def client(number: int) -> None:
        stream = await trio.open_tcp_stream(host, int(port))
        for count in range(1 << 62):
            began_at = trio.current_time()
            if began_at > begin_at + seconds:
                break
            status, body = await ask(stream, request_of(f"bench-{os.getpid()}-{number}-{count}"))
            assert status == 200, body
            if began_at >= begin_at:
                times_s.append(trio.current_time() - began_at)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        for number in range(CONNECTION_COUNT):
            nursery.start_soon(client, number)
    return times_s


def ping_of(gid: str) -> bytes:
    """A request that does nothing."""
    return b"GET /api/ping HTTP/1.1\r\nhost: bench\r\n\r\n"


def saga_maker(participants: str) -> Callable[[str], bytes]:
    """Makes submits of sagas with two branches."""
    steps = [
        {"action": f"{participants}/{path}", "compensate": f"{participants}/{path}Compensate"}
        for path in ("TransOut", "TransIn")
    ]
    order = {"trans_type": "saga", "steps": steps, "payloads": ['{"amount":30}'] * 2, "wait_result": True}

    def saga_of(gid: str) -> bytes:
        body = json.dumps({"gid": gid, **order}).encode()
        return b"POST /api/dtmsvr/submit HTTP/1.1\r\nhost: bench\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)

    return saga_of


# -- the run


@contextmanager
def child(*command: str, **environ: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """A child process and the URL that its first line on stdout names; killed on leaving."""
    paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "dsl", "engine"))
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, **environ},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        yield process, next(word.strip(",") for word in line.split() if word.startswith("http://"))
    finally:
        process.kill()
        process.wait()


def run(seconds: float, db: str) -> None:
    """Start everything, print the figures."""
    with (
        child(__file__, "--role", "participants") as (_, participants),
        child("-m", "flowtx.cli.main", "serve", *HERE, "--db", db) as (server, url),
    ):
        command = [sys.executable, __file__, "--role", "load", "--seconds", str(seconds), "--pid", str(server.pid)]
        lines = subprocess.run([*command, url, participants], stdout=subprocess.PIPE, text=True, check=True).stdout
    figures = {each["what"]: each for each in map(json.loads, lines.splitlines())}
    for what, each in figures.items():
        print(
            f"{what}: {each['per_second']:,.0f}/s, p50 {each['p50_ms']:.1f} ms, p99 {each['p99_ms']:.1f} ms, "
            f"{each['cpu_ms']:.2f} ms of the server's processor time"
        )
    ratio = figures["saga"]["per_second"] / figures["ping"]["per_second"]
    print(f"in the time of a saga the server answers {1 / ratio:.2f} pings")


def cpu_s_of(pid: int) -> float:
    """The processor time of a process so far, in seconds (Linux); of no process, none."""
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Branch on the role of this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--role", choices=["participants", "load"], default="")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--db", default="", help="default: a SQLite file in a temporary folder")
    parser.add_argument("--pid", type=int, default=0)
    parser.add_argument("urls", nargs="*")
    given = parser.parse_args()
    match given.role:
        case "participants":
            trio.run(participate)
        case "load":
            server, participants = given.urls
            trio.run(load, server, participants, given.seconds, given.pid)
        case _:
            with tempfile.TemporaryDirectory() as folder:
                run(given.seconds, given.db or f"sqlite:///{folder}/flowtx.db")


if __name__ == "__main__":
    main()
