"""The HTTP client against Go's net/http: as the server, and as the client that it has to behave like.

DTM is written in Go, so participants have lived with what Go's client does with redirects, URLs and proxies. Both
clients make the same calls here, and the server must not see a difference.
"""

import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio

from flowtx_engine.calls.http import HttpClient, HttpLimits
from flowtx_engine.calls.http_proxy import ProxyRules
from flowtx_engine.calls.http_types import HttpFault, HttpRequest
from flowtx_engine.calls.http_url import parse_url
from tests.workers import made_once

ENVIRON = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


@dataclass(frozen=True)
class GoServer:
    """Go's server, listening."""

    plain: str
    secure: str
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that stands for Go, built."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not on the PATH; install it from https://go.dev/dl or with `apt install golang-go`")

    def build(program: Path) -> None:
        source = Path(__file__).with_name("http_peer.go")
        built = subprocess.run([go, "build", "-o", program, source], capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr

    return made_once(tmp_path_factory, "go-peer", build)


@pytest.fixture(scope="module")
def server(peer: Path) -> Iterator[GoServer]:
    with subprocess.Popen([peer, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        context = ssl.create_default_context(cadata=told["Certificate"])
        context.set_alpn_protocols(["http/1.1"])
        yield GoServer(plain=told["Plain"], secure=told["Secure"], context=context)


def post(url: str, body: bytes = b"body") -> HttpRequest:
    return HttpRequest(method="POST", url=url, body=body)


def get(url: str) -> HttpRequest:
    return HttpRequest(method="GET", url=url)


# Go as the server


async def test_go_hears_what_was_said_and_the_connection_is_kept(server: GoServer) -> None:
    async with HttpClient(environ={}) as client:
        seen_from: set[str | None] = set()
        for number in range(5):
            response = await client.send(post(f"{server.plain}/echo?gid=g {number}", b"x" * number * 100_000))
            assert response.body == b"x" * number * 100_000
            assert response.header("Seen-Target") == f"/echo?gid=g%20{number}"
            assert f"http://{response.header('Seen-Host')}" == server.plain
            seen_from.add(response.header("Seen-From"))
    assert len(seen_from) == 1


async def test_go_is_called_over_tls_with_http_1_1_though_it_offers_2(server: GoServer) -> None:
    async with HttpClient(environ={}, tls=server.context) as client:
        seen_from: set[str | None] = set()
        for _ in range(5):
            response = await client.send(post(f"{server.secure}/echo", b"x" * 200_000))
            assert response.body == b"x" * 200_000
            assert response.header("Seen-Protocol") == "HTTP/1.1"
            seen_from.add(response.header("Seen-From"))
    assert len(seen_from) == 1


async def test_what_go_compresses_is_unpacked(server: GoServer) -> None:
    async with HttpClient(environ={}) as client:
        response = await client.send(post(f"{server.plain}/gzip", b"yes " * 50_000))
    assert response.body == b"yes " * 50_000
    assert response.header("Content-Encoding") is None


async def test_goes_chunks_interim_answers_and_trailers_are_read(server: GoServer) -> None:
    async with HttpClient(environ={}) as client:
        for _ in range(2):
            response = await client.send(get(f"{server.plain}/chunked"))
            assert (response.status, response.body) == (200, b"one two three")
        assert [found.slots_count for found in client.statistics().values()] == [1]


@pytest.mark.parametrize("status", [200, 204, 304, 409, 425, 500])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
async def test_goes_empty_answers_leave_the_connection_clean(server: GoServer, status: int, method: str) -> None:
    async with HttpClient(environ={}) as client:
        for _ in range(2):
            response = await client.send(HttpRequest(method=method, url=f"{server.plain}/status?is={status}"))
            assert (response.status, response.body) == (status, b"")
        assert (await client.send(post(f"{server.plain}/echo"))).body == b"body"


async def test_the_answers_of_a_go_server_that_hangs_up_are_whole_or_faults(server: GoServer) -> None:
    async with HttpClient(environ={}) as client:
        assert (await client.send(get(f"{server.plain}/close"))).body == b"bye"
        assert (await client.send(get(f"{server.plain}/old"))).body == b"old and without length"
        with pytest.raises(HttpFault, match="closed after 8 bytes of the answer's body; the last chunk was missing"):
            await client.send(get(f"{server.plain}/abort"))
        assert (await client.send(post(f"{server.plain}/refuse", b"x" * 20_000_000))).status == 413
        assert len((await client.send(get(f"{server.plain}/big?size=5000000"))).body) == 5_000_000


async def test_many_calls_at_once_share_a_few_connections_to_go(server: GoServer) -> None:
    seen_from: set[str | None] = set()

    async def call(client: HttpClient, number: int) -> None:
        response = await client.send(post(f"{server.plain}/echo", str(number).encode()))
        assert response.body == str(number).encode()
        seen_from.add(response.header("Seen-From"))

    limits = HttpLimits(connections_per_host_max=10)
    async with HttpClient(limits, environ={}) as client, trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(call, client, number)
    assert 1 <= len(seen_from) <= 10


# Go as the client


class Witness:
    """Writes down what it is asked, and redirects as its table says."""

    def __init__(self, table: dict[str, tuple[int, str]]) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.port = 0
        self._table = table

    async def start(self, nursery: trio.Nursery) -> None:
        listeners = await nursery.start(partial(trio.serve_tcp, self._serve, 0, host="127.0.0.1"))
        self.port = listeners[0].socket.getsockname()[1]

    async def _serve(self, stream: trio.SocketStream) -> None:
        data = b""
        while piece := bytes(await stream.receive_some()):
            data += piece
            head, end, body = data.partition(b"\r\n\r\n")
            line, *fields = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
            if not end or len(body) < int(headers.get("content-length", "0")):
                continue
            data = b""
            for name in ("user-agent", "accept-encoding"):  # each client has its own
                headers.pop(name, None)
            self.seen.append((line, headers, body))
            status, location = self._table.get(line.split(" ")[1], (200, ""))
            location = location.replace("PORT", str(self.port))
            await stream.send_all(f"HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())


async def call_with_go(peer: Path, request: HttpRequest, environ: dict[str, str]) -> str:
    """Make the call with Go's client and return the status, or "fault"."""
    asked = {
        "Method": request.method,
        "URL": request.url,
        "Headers": dict(request.headers),
        "Body": request.body.decode(),
    }
    told = await trio.run_process(
        [peer, "call"], stdin=json.dumps(asked).encode() + b"\n", capture_stdout=True, env={**ENVIRON, **environ}
    )
    answer = json.loads(told.stdout)
    return "fault" if answer["Error"] else str(answer["Status"])


async def call_with_flowtx(request: HttpRequest, environ: dict[str, str]) -> str:
    async with HttpClient(environ=environ) as client:
        try:
            return str((await client.send(request)).status)
        except HttpFault:
            return "fault"


REDIRECTS: dict[str, tuple[int, str]] = {
    **{f"/{status}": (status, "/end?x=y") for status in (301, 302, 303, 307, 308)},
    **{f"/{status}-without": (status, "") for status in (301, 302, 303, 307, 308)},
    **{f"/{status}-not": (status, "/end") for status in (200, 300, 304, 305, 306, 400)},
    **{f"/loop/{number}": (302, f"/loop/{number + 1}") for number in range(20)},
    "/one/less/1": (302, "/loop/12"),
    "/relative/a/b": (307, "c?d"),
    "/relative/up/b": (307, "../c/./d/../e"),
    "/relative/query": (307, "?only"),
    "/relative/fragment": (302, "/end#there"),
    "/unsafe": (302, "/a b?c=d"),
    "/utf8": (302, "/Straße"),
    "/away": (307, "http://localhost:PORT/back"),
    "/back": (307, "http://127.0.0.1:PORT/end"),
    "/away-and-get": (302, "http://localhost:PORT/307"),
    "/ftp": (302, "ftp://127.0.0.1/"),
    "/bad-port": (302, "http://127.0.0.1:x/"),
    "/no-host": (302, "http:///x"),
    "/with-user": (302, "http://eve:pw@127.0.0.1:PORT/end"),
    "/dots": (302, "http://127.0.0.1:PORT/a/../b/./c/.."),
    "/dots-without-scheme": (302, "//127.0.0.1:PORT/x/../y"),
    "/relative/more/up": (302, "../../../../up"),
    "/relative/slashes": (302, "x//y/../z//"),
    "/relative/encoded": (302, "%2e%2e/x%2F..%2f"),
    "/relative/parameter": (302, "g;x=1/../y:z"),
    "/relative/itself?not=again": (302, "#there"),
    "/scheme-only": (302, "http:x"),
    "/spaces": (302, " /end "),
    "/same-by-name": (302, "http://127.0.0.1:PORT/302"),
}


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT"])
async def test_redirects_are_followed_as_go_follows_them(peer: Path, nursery: trio.Nursery, method: str) -> None:
    goes, ours = Witness(REDIRECTS), Witness(REDIRECTS)
    await goes.start(nursery)
    await ours.start(nursery)
    headers = (("Content-Type", "application/json"), ("Authorization", "a"), ("Cookie", "c"), ("X-Own", "x"))
    variants = [headers, (*headers, ("Referer", "http://mine/")), (*headers, ("Host", "virtual.example"))]
    for path in REDIRECTS:
        for variant in variants if path.startswith(("/away", "/relative", "/same")) else variants[:1]:
            goes.seen.clear()
            ours.seen.clear()
            theirs, mine = (
                HttpRequest(
                    method=method,
                    url=f"http://127.0.0.1:{witness.port}{path}",
                    headers=variant,
                    body=b"body" if method in {"POST", "PUT"} else b"",
                )
                for witness in (goes, ours)
            )
            outcome = await call_with_go(peer, theirs, {})
            assert await call_with_flowtx(mine, {}) == outcome, path
            expected = [normalized(each, goes.port) for each in goes.seen]
            assert [normalized(each, ours.port) for each in ours.seen] == expected, path


def normalized(seen: tuple[str, dict[str, str], bytes], port: int) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return what was seen without what differs: the port; JSON's Accept, which DTM's library adds and not Go; and the
    fragment that Go leaves in the Referer, where RFC 9110 forbids it.
    """
    line, headers, body = seen
    fields = {name: value.replace(str(port), "PORT") for name, value in headers.items() if name != "accept"}
    if "referer" in fields:
        fields["referer"] = fields["referer"].partition("#")[0]
    return line, sorted(fields.items()), body


@pytest.mark.parametrize(
    "path",
    [
        "",
        "?",
        "?a=b&c",
        "/a%20b%2Fc",
        "/a b",
        "/ü",
        '/"<>\\^`{|}',
        "/-._~!$&'()*+,;=:@[]",
        "/a//b/../c/.",
        "/a?b#c",
        "/%41%7e",
    ],
)
async def test_a_url_arrives_as_go_sends_it(peer: Path, nursery: trio.Nursery, path: str) -> None:
    witness = Witness({})
    await witness.start(nursery)
    request = HttpRequest(method="GET", url=f"http://u%40:p@127.0.0.1:{witness.port}{path}")
    assert await call_with_go(peer, request, {}) == await call_with_flowtx(request, {}) == "200"
    goes, ours = witness.seen
    assert ours == goes


async def test_a_proxy_is_asked_as_go_asks_it(peer: Path, nursery: trio.Nursery) -> None:
    witness = Witness({"http://bob.example/a": (302, "http://eve.example:8081/b?c")})
    await witness.start(nursery)
    request = HttpRequest(method="GET", url="http://bob.example/a")
    environ = {"HTTP_PROXY": f"http://u:p@127.0.0.1:{witness.port}"}
    assert await call_with_go(peer, request, environ) == await call_with_flowtx(request, environ) == "200"
    assert len(witness.seen) == 4
    assert witness.seen[:2] == witness.seen[2:]


@pytest.mark.parametrize(
    "no_proxy",
    [
        "",
        "*",
        "x, *",
        "bob.example",
        "BOB.example,sub.eve.example",
        ".bob.example",
        "*.bob.example",
        "bob.example:8081",
        "bob.example:80, 1.2.3.4:443",
        "1.2.3.4",
        "1.2.0.0/16",
        "2001:db8::/32",
        "2001:db8::1",
        "[2001:db8::1]:8081",
        "example",
        "3.4,0.1",
        ":80,/,.,1.2.3.4/99",
    ],
)
async def test_no_proxy_is_understood_as_go_understands_it(peer: Path, no_proxy: str) -> None:
    hosts = ["bob.example", "BOB.example", "sub.bob.example", "evilbob.example", "eve.example", "1.2.3.4", "1.3.3.4"]
    hosts += ["[2001:db8::1]", "[2001:db9::1]", "localhost", "sub.localhost", "127.0.0.1", "127.3.3.3", "[::1]"]
    urls = [f"{scheme}://{host}{port}/" for host in hosts for scheme in ("http", "https") for port in ("", ":8081")]
    environ = {"HTTP_PROXY": "http://squid:3128", "https_proxy": "https://owl:3129", "NO_PROXY": no_proxy}
    told = await trio.run_process([peer, "proxy", *urls], capture_stdout=True, env={**ENVIRON, **environ})
    rules = ProxyRules.from_environ(environ)
    found = [rules.proxy_for(parse_url(url).origin) for url in urls]
    ours = ["" if proxy is None else f"{proxy.scheme}://{proxy}" for proxy in found]
    goes = told.stdout.decode().split("\n")[:-1]
    assert dict(zip(urls, ours, strict=True)) == dict(zip(urls, goes, strict=True))
