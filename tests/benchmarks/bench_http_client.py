"""What a keep-alive HTTP call costs, as a ratio to the same bytes over a bare trio socket in the same run.

Run as a script: ``make bench``. The other end is a process of its own, so that the CPU time is the client's alone. The
bar is 50 microseconds of CPU a call, and 3 times the bare socket, with 64 calls at once on the machine the design was
measured on. Calls are a participant's: a POST with a small JSON body, and a URL that is never the same twice.
"""

from __future__ import annotations

import multiprocessing
import select
import socket
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

import trio

from flowtx_engine.calls.http import HttpClient
from flowtx_engine.calls.http_types import HttpRequest

CALLS_COUNT = 20_000
ROUNDS_COUNT = 3
HEADERS = (("Content-Type", "application/json"), ("x-tenant", "a"))
BODY = b'{"amount":30}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nServer: bank\r\n"
    b'Content-Length: 25\r\n\r\n{"dtm_result":"SUCCESS"}\n'
)


def answer_for_ever(port_to: Connection) -> None:
    """Be the cheapest server there can be: whatever comes is one request."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    port_to.send(listener.getsockname()[1])
    poller = select.epoll()
    poller.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for descriptor, _ in poller.poll():
            if descriptor == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                poller.register(connection, select.EPOLLIN)
            elif connections[descriptor].recv(65536):
                connections[descriptor].sendall(ANSWER)
            else:
                connections.pop(descriptor).close()


async def call_over_bare_sockets(port: int, tasks_count: int) -> None:
    """Send the bytes of a call and receive those of its answer, and nothing else."""
    request = (
        b"POST /api/busi/TransOut?branch_id=01&gid=g-12345&op=action&trans_type=saga HTTP/1.1\r\nHost: 127.0.0.1:36789"
        b"\r\nContent-Length: 13\r\nContent-Type: application/json\r\nX-Tenant: a\r\nUser-Agent: flowtx\r\n"
        b"Accept-Encoding: gzip\r\nAccept: application/json\r\n\r\n" + BODY
    )

    async def call() -> None:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            for _ in range(CALLS_COUNT // tasks_count):
                await stream.send_all(request)
                await stream.receive_some(65536)

    async with trio.open_nursery() as nursery:
        for _ in range(tasks_count):
            nursery.start_soon(call)


async def call_with_client(port: int, tasks_count: int) -> None:
    """Make the calls as the engine makes them."""

    async def call(client: HttpClient, task: int) -> None:
        for number in range(CALLS_COUNT // tasks_count):
            url = f"http://127.0.0.1:{port}/api/busi/TransOut?branch_id=01&gid=g-{task}-{number}&op=action&trans_type=saga"
            response = await client.send(HttpRequest(method="POST", url=url, headers=HEADERS, body=BODY))
            assert response.status == 200

    async with HttpClient(environ={}) as client, trio.open_nursery() as nursery:
        for task in range(tasks_count):
            nursery.start_soon(call, client, task)


def measure(main: Callable[[int, int], Awaitable[None]], port: int, tasks_count: int) -> tuple[float, float]:
    """Return the CPU seconds and the seconds of the best round."""
    found: list[tuple[float, float]] = []
    for _ in range(ROUNDS_COUNT):
        cpu_at, at = time.process_time(), time.perf_counter()
        trio.run(main, port, tasks_count)
        found.append((time.process_time() - cpu_at, time.perf_counter() - at))
    return min(found)


def main() -> None:
    """Print one line for each number of calls at once."""
    port_from, port_to = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.get_context("spawn").Process(target=answer_for_ever, args=(port_to,), daemon=True)
    server.start()
    try:
        port = port_from.recv()
        for tasks_count in (1, 16, 64):
            bare_cpu_s, bare_s = measure(call_over_bare_sockets, port, tasks_count)
            cpu_s, seconds = measure(call_with_client, port, tasks_count)
            cost, bare_cost = cpu_s / CALLS_COUNT * 1e6, bare_cpu_s / CALLS_COUNT * 1e6
            print(
                f"{tasks_count:3} at once: {CALLS_COUNT / seconds:7,.0f} calls/s, {cost:.1f} us of CPU a call; "
                f"bare socket {CALLS_COUNT / bare_s:7,.0f}/s, {bare_cost:.1f} us; CPU ratio {cost / bare_cost:.2f}"
            )
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
