"""Laws of the outgoing HTTP client, whatever a participant answers and whatever a caller asks for.

The parser: however a response is cut, it is the same response; cut short, it is a fault; nothing but a fault comes out
of garbage. The request: what a caller gives either arrives as given or is refused. The pool: whoever is cancelled, and
whenever, no slot is lost, none is there twice, and those who wait are served in order.
"""

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import httptools
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from flowtx_engine.calls.http import HttpClient, HttpLimits
from flowtx_engine.calls.http_content import DECODABLE, decode_content
from flowtx_engine.calls.http_pool import Pool, PoolLimits
from flowtx_engine.calls.http_request import render_headers, render_request
from flowtx_engine.calls.http_response import ResponseParser
from flowtx_engine.calls.http_types import HttpFault, HttpRequest, HttpResponse
from flowtx_engine.calls.http_url import parse_url, resolve_reference

HEADERS_MAX = 16_384
BODY_MAX = 16_384
FRAMING = {"content-length", "transfer-encoding", "content-encoding", "connection", "upgrade", "keep-alive"}
TOKEN_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"

header_names = st.text(TOKEN_CHARACTERS, min_size=1, max_size=12).filter(lambda name: name.lower() not in FRAMING)
header_values = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20
).map(lambda value: value.strip(" "))


@dataclass(frozen=True)
class Example:
    """A response as a server writes it, and as it is to be read."""

    wire: bytes
    expected: HttpResponse
    ends_with_connection: bool
    head_size: int


def chunked(body: bytes, cuts: Sequence[int], extension: str, trailer: str) -> bytes:
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    pieces = [body[start:end] for start, end in pairwise(edges)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension.encode(), piece) for piece in pieces) + (
        b"0\r\n" + trailer.encode() + b"\r\n"
    )


def encoded(body: bytes, coding: str) -> bytes:
    match coding:
        case "gzip" | "x-gzip":
            return gzip.compress(body)
        case "deflate":
            return zlib.compress(body)
        case _:
            return body


@st.composite
def examples(draw: st.DrawFn) -> Example:
    status = draw(st.integers(200, 599))
    fields = draw(st.lists(st.tuples(header_names, header_values), max_size=5))
    body = b"" if status in {204, 304} else draw(st.binary(max_size=200))
    coding = draw(st.sampled_from(["", "gzip", "x-gzip", "deflate", "br"]))
    raw = encoded(body, coding) if body else b""
    framing = draw(st.sampled_from(["length", "chunked", "end"]))
    if status in {204, 304}:
        framing = "length"
    own: list[tuple[str, str]] = [("Content-Encoding", coding)] if coding else []
    match framing:
        case "length":
            own.append(("Content-Length", str(len(raw))))
            rest = raw
        case "chunked":
            own.append(("Transfer-Encoding", "chunked"))
            cuts = draw(st.lists(st.integers(0, 300), max_size=4))
            extension = draw(st.sampled_from(["", ";a", ";name=value"]))
            rest = chunked(raw, cuts, extension, draw(st.sampled_from(["", "X-Sum: 1\r\n", "A: b\r\nC: d\r\n"])))
        case _:
            rest = raw
    place = draw(st.integers(0, len(fields)))
    written = [*fields[:place], *own, *fields[place:]]
    line_end = draw(st.sampled_from(["\r\n", "\r\n", "\n"]))
    interim = draw(st.sampled_from(["", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * 2]))
    reason = draw(st.sampled_from([" OK", "", " Not Found At All"]))
    before = draw(st.sampled_from(["", " ", "\t  "]))
    # llhttp minds a tab behind a header that frames the body; such a response is a fault.
    after = {each: draw(st.sampled_from(["", " "] if each in own else ["", " ", " \t"])) for each in written}
    fields_lines = [f"{name}:{before}{value}{after[name, value]}" for name, value in written]
    lines = [f"HTTP/1.1 {status}{reason}", *fields_lines, "", ""]
    head = interim.encode() + line_end.join(lines).encode("latin-1")
    gone = {"content-encoding", "content-length"} if body and coding in DECODABLE else set[str]()
    headers = tuple((name.lower(), value) for name, value in written if name.lower() not in gone)
    return Example(
        wire=head + rest,
        expected=HttpResponse(status=status, headers=headers, body=body),
        ends_with_connection=framing == "end",
        head_size=len(head),
    )


def new_parser(method: str = "POST") -> ResponseParser:
    return ResponseParser(method=method, headers_max=HEADERS_MAX, body_max=BODY_MAX)


def read(pieces: Sequence[bytes], method: str = "POST") -> HttpResponse:
    """Feed pieces as they come from a connection that is closed after them."""
    parser = new_parser(method)
    for piece in pieces:
        if parser.feed(piece):
            return parser.response()
    parser.feed_end()
    return parser.response()


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


@given(examples(), st.lists(st.integers(0, 10_000), max_size=8))
def test_however_a_response_is_cut_it_is_the_same_response(example: Example, places: list[int]) -> None:
    assert read(cut(example.wire, places)) == example.expected


@given(examples())
def test_a_response_that_comes_byte_by_byte_is_the_same_response(example: Example) -> None:
    assert read([bytes([byte]) for byte in example.wire]) == example.expected


@given(examples(), st.integers(0, 10_000), st.lists(st.integers(0, 10_000), max_size=3))
def test_a_response_that_is_cut_short_is_a_fault(example: Example, size: int, places: list[int]) -> None:
    # Where the body ends with the connection, nobody can tell that it was cut short.
    wire = example.wire[: example.head_size] if example.ends_with_connection else example.wire
    short = wire[: size % len(wire)]
    try:
        response = read(cut(short, places))
    except HttpFault:
        return
    raise AssertionError(f"{short!r} was read as {response}")


@given(examples(), st.binary(min_size=1, max_size=50).filter(lambda rest: rest[0] not in b"\r\n"))
def test_bytes_after_the_response_change_nothing_but_spoil_the_connection(example: Example, rest: bytes) -> None:
    if example.ends_with_connection:
        return
    parser = new_parser()
    assert parser.feed(example.wire + rest)
    assert not parser.is_reusable
    assert parser.response() == example.expected


@given(examples())
def test_a_framed_response_leaves_the_connection_usable(example: Example) -> None:
    parser = new_parser()
    assert parser.feed(example.wire) is not example.ends_with_connection
    assert parser.is_reusable is not example.ends_with_connection


@given(st.lists(st.binary(max_size=60), max_size=5), st.sampled_from(["POST", "HEAD", "CONNECT"]))
def test_garbage_is_a_fault_and_nothing_else(pieces: list[bytes], method: str) -> None:
    try:
        read([piece for piece in pieces if piece], method)
    except HttpFault:
        return
    raise AssertionError(f"{pieces} was read as a response")


@settings(max_examples=300)
@given(examples(), st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=3)), max_size=4), st.data())
def test_a_damaged_response_is_a_response_or_a_fault(
    example: Example, damages: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    wire = example.wire
    for place, patch in damages:
        at = place % (len(wire) + 1)
        wire = wire[:at] + patch + wire[at + data.draw(st.integers(0, 3)) :]
    try:
        response = read(cut(wire, data.draw(st.lists(st.integers(0, 10_000), max_size=3))))
    except HttpFault:
        return
    assert len(response.body) <= BODY_MAX


@given(st.sampled_from(sorted(DECODABLE)), st.binary(max_size=300), st.integers(0, 200))
def test_decoding_gives_what_was_encoded_or_refuses_what_is_too_long(coding: str, body: bytes, body_max: int) -> None:
    try:
        decoded = decode_content(encoded(body, coding), coding, body_max=body_max)
    except HttpFault:
        assert len(body) > body_max
    else:
        assert decoded == body
        assert len(body) <= body_max


@given(st.sampled_from(sorted(DECODABLE)), st.binary(min_size=1, max_size=300))
def test_decoding_garbage_is_a_fault_or_bytes_within_the_limit(coding: str, body: bytes) -> None:
    try:
        decoded = decode_content(body, coding, body_max=100)
    except HttpFault:
        return
    assert len(decoded) <= 100


@given(
    st.text(max_size=60), st.sampled_from(["http://bob:8081/", "https://[::1]/a?b=", "http://x", "HTTP://é.example/?"])
)
def test_a_url_becomes_a_safe_target_or_a_fault(text: str, prefix: str) -> None:
    try:
        url = parse_url(prefix + text)
    except HttpFault:
        return
    assert url.target.startswith("/")
    assert url.target.isascii()
    assert url.target.isprintable()
    assert " " not in url.target
    assert url.origin.host.isascii()
    again = parse_url(f"{url.origin.scheme}://{url.origin.authority}{url.target}")
    assert again.target == url.target, "what is encoded is not encoded once more"
    assert again.origin.endpoint == url.origin.endpoint


@given(st.text(st.characters(max_codepoint=0xFF), max_size=60))
def test_a_redirect_leads_to_a_url_or_is_a_fault(location: str) -> None:
    try:
        url = parse_url(resolve_reference("http://bob:8081/a/b?c=d", location))
    except HttpFault:
        return
    assert url.target.isascii()


class ReadRequest:
    """What a server makes of a request."""

    def __init__(self, wire: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.target = b""
        self.complete_count = 0
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(wire)
        self.method = parser.get_method()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete_count += 1


any_header = st.tuples(st.one_of(header_names, st.text(max_size=6)), st.text(max_size=20))


@given(
    st.one_of(st.sampled_from(["GET", "POST", "PUT"]), st.text(max_size=5)),
    st.lists(any_header, max_size=4),
    st.binary(max_size=50),
    st.text(max_size=10),
)
def test_a_request_arrives_as_it_was_given_or_is_refused(
    method: str, headers: list[tuple[str, str]], body: bytes, query: str
) -> None:
    try:
        rendered = render_headers(tuple(headers))
        wire = render_request(method, parse_url(f"http://bob/?{query}"), rendered, body)
    except HttpFault:
        return
    assert wire.startswith(f"{method} /".encode())
    head, _, sent_body = wire.partition(b"\r\n\r\n")
    assert sent_body == body
    given_names = {name.lower() for name, _ in headers}
    defaults_count = len({"user-agent", "accept-encoding"} - given_names)
    kept = [
        each for each in headers if each[0].lower() not in {"host", "content-length", "transfer-encoding", "trailer"}
    ]
    length_count = int(bool(body) or method in {"POST", "PUT", "PATCH"})
    if "content-type" not in given_names:
        assert head.count(b"\n") == head.count(b"\r") == 1 + len(kept) + defaults_count + length_count
    if method in {"GET", "POST", "PUT"} and "connection" not in given_names and "upgrade" not in given_names:
        arrived = ReadRequest(wire)
        assert (arrived.complete_count, arrived.method, arrived.body) == (1, method.encode(), body)
        for name, value in kept:
            assert (name.lower().encode(), value.strip(" \t").encode()) in arrived.headers


class FakeConnection:
    """Knows how often it was closed and by how many it is held."""

    def __init__(self) -> None:
        self.is_closed = False
        self.holders_count = 0

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True


@dataclass(frozen=True)
class Visit:
    """One call: when it comes, how long it holds its slot, when it is cancelled, and how it leaves its connection."""

    comes_s: int
    holds_s: int
    cancelled_s: int
    leaves_it_open: bool
    finds_it_dead: bool


visits = st.builds(
    Visit,
    comes_s=st.integers(0, 5),
    holds_s=st.integers(0, 5),
    cancelled_s=st.integers(0, 12),
    leaves_it_open=st.booleans(),
    finds_it_dead=st.booleans(),
)


@settings(max_examples=200)
@given(st.lists(visits, max_size=25), st.integers(1, 4), st.integers(0, 4), st.random_module())
def test_whoever_is_cancelled_no_slot_is_lost_or_there_twice(
    calls: list[Visit], slots_max: int, idle_max: int, dice: object
) -> None:
    pool: Pool[FakeConnection] = Pool(PoolLimits(slots_max=slots_max, idle_max=idle_max, idle_s=3))
    made: list[FakeConnection] = []
    came: list[int] = []
    served_at: dict[int, float] = {}
    holders_count = 0

    async def visit(number: int, call: Visit) -> None:
        nonlocal holders_count
        await trio.sleep(call.comes_s)
        with trio.move_on_at(call.comes_s + call.cancelled_s + 0.5):
            try:
                connection = pool.acquire_nowait()
            except trio.WouldBlock:
                came.append(number)
                connection = await pool.wait_acquire()
                served_at[number] = trio.current_time()
            holders_count += 1
            assert holders_count <= slots_max
            kept: FakeConnection | None = None
            try:
                while connection is not None and call.finds_it_dead:
                    connection.close()
                    connection = pool.swap()
                if connection is None:
                    connection = FakeConnection()
                    made.append(connection)
                assert not connection.is_closed
                assert connection.holders_count == 0
                connection.holders_count += 1
                await trio.sleep(call.holds_s)
                kept = connection if call.leaves_it_open else None
            finally:
                holders_count -= 1
                if connection is not None:
                    connection.holders_count -= 1
                    if kept is None:
                        connection.close()
                pool.release(kept)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number, call in enumerate(calls):
                nursery.start_soon(visit, number, call)
        statistics = pool.statistics()
        assert statistics.waiting_count == 0
        assert statistics.slots_count == statistics.idle_count <= min(slots_max, idle_max)
        assert statistics.idle_count == sum(not each.is_closed for each in made)
        pool.close_idle()
        assert pool.is_empty
        assert all(each.is_closed for each in made)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    in_order_of_coming = [served_at[number] for number in came if number in served_at]
    assert in_order_of_coming == sorted(in_order_of_coming), "nobody who came later was served earlier"


async def answer(stream: trio.SocketStream) -> None:
    """Answer every request, in two pieces, so that there are many moments to be cancelled at."""
    try:
        while await stream.receive_some():
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Le")
            await trio.lowlevel.checkpoint()
            await stream.send_all(b"ngth: 2\r\n\r\nok")
    except trio.BrokenResourceError:
        return  # the client was cancelled and hung up


@settings(max_examples=30)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=40), st.integers(1, 4), st.random_module())
def test_calls_cancelled_at_any_moment_leave_the_client_fit_for_use(
    patiences: list[int], connections_max: int, dice: object
) -> None:
    async def call(client: HttpClient, port: int, patience: int) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_after, nursery.cancel_scope, patience)
            response = await client.send(HttpRequest(method="POST", url=f"http://127.0.0.1:{port}/", body=b"x"))
            assert response.body == b"ok"
            nursery.cancel_scope.cancel()

    async def cancel_after(scope: trio.CancelScope, checkpoints_count: int) -> None:
        for _ in range(checkpoints_count):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    async def main() -> None:
        limits = HttpLimits(connections_per_host_max=connections_max, idle_connections_per_host_max=connections_max)
        async with trio.open_nursery() as nursery, HttpClient(limits, environ={}) as client:
            listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
            port: int = listeners[0].socket.getsockname()[1]
            async with trio.open_nursery() as calls:
                for patience in patiences:
                    calls.start_soon(call, client, port, patience)
            for found in client.statistics().values():
                assert found.waiting_count == 0
                assert found.slots_count == found.idle_count <= connections_max
            for _ in range(connections_max + 1):
                response = await client.send(HttpRequest(method="GET", url=f"http://127.0.0.1:{port}/"))
                assert (response.status, response.body) == (200, b"ok")
            nursery.cancel_scope.cancel()

    trio.run(main)
