"""The HTTP client against real servers: Hypercorn with Quart, and nginx."""

import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import quart
import quart_trio
import trio
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType]  # it leaves WSGI's types open

from flowtx_engine.calls.http import HttpClient, HttpLimits
from flowtx_engine.calls.http_types import HttpFault, HttpRequest

STARTING_MAX_S = 10


def post(url: str, body: bytes = b"body", *headers: tuple[str, str]) -> HttpRequest:
    return HttpRequest(method="POST", url=url, headers=headers, body=body)


def get(url: str) -> HttpRequest:
    return HttpRequest(method="GET", url=url)


# Hypercorn


def new_app() -> quart_trio.QuartTrio:
    app = quart_trio.QuartTrio(__name__)

    @app.post("/echo")
    async def echo() -> quart.Response:
        body = await quart.request.get_data()
        seen = {"Seen-Gid": quart.request.args["gid"], "Seen-Type": quart.request.headers["Content-Type"]}
        return quart.Response(body, headers=seen)

    @app.get("/pieces")
    async def pieces() -> quart.Response:
        async def produce() -> AsyncIterator[bytes]:
            for number in range(100):
                await trio.lowlevel.checkpoint()
                yield f"{number} ".encode()

        return quart.Response(produce())

    @app.get("/refuse")
    async def refuse() -> tuple[str, int]:
        return "not enough money", 409

    return app


@pytest.fixture
async def hypercorn_url(nursery: trio.Nursery) -> str:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    (url,) = await nursery.start(partial(serve, new_app(), config))
    return str(url)


async def test_hypercorn_is_called_again_and_again_over_one_connection(hypercorn_url: str) -> None:
    async with HttpClient(environ={}) as client:
        for number in range(20):
            body = b"x" * number * 1_000
            request = post(f"{hypercorn_url}/echo?gid=g-{number}", body, ("Content-Type", "application/json"))
            response = await client.send(request)
            assert (response.status, response.body) == (200, body)
            assert response.header("Seen-Gid") == f"g-{number}"
            assert response.header("Seen-Type") == "application/json"
        assert [found.slots_count for found in client.statistics().values()] == [1]


async def test_hypercorns_streams_and_refusals_are_read(hypercorn_url: str) -> None:
    async with HttpClient(environ={}) as client:
        response = await client.send(get(f"{hypercorn_url}/pieces"))
        assert response.body == b"".join(f"{number} ".encode() for number in range(100))
        response = await client.send(get(f"{hypercorn_url}/refuse"))
        assert (response.status, response.body) == (409, b"not enough money")
        response = await client.send(HttpRequest(method="HEAD", url=f"{hypercorn_url}/refuse"))
        assert (response.status, response.body) == (409, b"")


async def test_two_hundred_calls_share_ten_connections_to_hypercorn(hypercorn_url: str) -> None:
    answers: list[int] = []

    async def call(client: HttpClient, number: int) -> None:
        response = await client.send(post(f"{hypercorn_url}/echo?gid={number}", b"", ("Content-Type", "text/plain")))
        assert response.header("Seen-Gid") == str(number)
        answers.append(number)

    async with HttpClient(HttpLimits(connections_per_host_max=10), environ={}) as client:
        async with trio.open_nursery() as calls:
            for number in range(200):
                calls.start_soon(call, client, number)
        assert sorted(answers) == list(range(200))
        assert [found.slots_count for found in client.statistics().values()] == [10]


# nginx

NGINX_CONFIG = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    gzip on; gzip_types *; gzip_min_length 1;
    keepalive_requests 3;
    client_max_body_size 1000;
    server {{
        listen 127.0.0.1:{port};
        location / {{ root {folder}/files; }}
        location = /refuse {{ return 409 "FAILURE"; }}
        location = /nothing {{ return 204; }}
        location = /never {{ return 444; }}
        location = /moved {{ return 307 /refuse; }}
        location = /gone {{ proxy_pass http://127.0.0.1:1; }}
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """nginx, listening."""

    url: str
    files: Path


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("nginx is not on the PATH; install it with `apt install nginx-light` or your system's like")
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "files").mkdir()
    config = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers may not read our files
    # nginx takes over a listening socket that it is told of, as in an upgrade; so the system chooses the port.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config.write_text(NGINX_CONFIG.format(folder=folder, port=port, user=user))
        command = [program, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
        environ = {**os.environ, "NGINX": f"{listener.fileno()};"}
        process = subprocess.Popen(command, env=environ, pass_fds=[listener.fileno()])
    with process:
        try:
            assert is_answered(port), (folder / "error.log").read_text()
            yield Nginx(url=f"http://127.0.0.1:{port}", files=folder / "files")
        finally:
            process.terminate()


def is_answered(port: int) -> bool:
    # The socket was listening before nginx was started, so it is enough to ask once and to wait.
    with socket.create_connection(("127.0.0.1", port), timeout=STARTING_MAX_S) as probe:
        probe.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
        return probe.recv(100).startswith(b"HTTP/1.1 204")


async def test_nginx_closes_after_three_requests_and_no_call_is_lost(nginx: Nginx) -> None:
    async with HttpClient(environ={}) as client:
        for _ in range(20):
            response = await client.send(post(f"{nginx.url}/refuse"))
            assert (response.status, response.body) == (409, b"FAILURE")


async def test_the_files_that_nginx_compresses_in_chunks_are_read(nginx: Nginx) -> None:
    content = b"0123456789" * 100_000
    (nginx.files / "large").write_bytes(content)
    async with HttpClient(environ={}) as client:
        for _ in range(4):
            response = await client.send(get(f"{nginx.url}/large"))
            assert response.header("Transfer-Encoding") == "chunked"
            assert response.body == content


async def test_the_odd_answers_of_nginx_are_read(nginx: Nginx) -> None:
    async with HttpClient(environ={}) as client:
        assert (await client.send(get(f"{nginx.url}/nothing"))).status == 204
        assert (await client.send(post(f"{nginx.url}/moved"))).body == b"FAILURE"
        assert (await client.send(get(f"{nginx.url}/gone"))).status == 502
        assert (await client.send(HttpRequest(method="HEAD", url=f"{nginx.url}/refuse"))).body == b""
        assert (await client.send(post(f"{nginx.url}/large", b"x" * 5_000_000))).status == 413
        with pytest.raises(HttpFault, match=r"receive from .*: the connection was closed before any answer came"):
            await client.send(get(f"{nginx.url}/never"))
