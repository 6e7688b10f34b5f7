"""Connections, seen from outside: kept, pipelined, chunked, broken off (spec 2.2; RFC 9112)."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
import trio

from tests.compat.dtm import Dtm
from tests.compat.orders import new_gid, saga
from tests.compat.web import ANSWER_MAX_S, Participant, Reply

GET = b"GET /api/ping HTTP/1.1\r\nHost: dtm\r\n\r\n"
PONG = b'{"msg":"pong"}'


async def connect(dtm: Dtm) -> trio.SocketStream:
    place = urlsplit(dtm.url)
    assert place.hostname is not None
    return await trio.open_tcp_stream(place.hostname, place.port or 80)


async def read_until(stream: trio.SocketStream, wanted: bytes, count: int = 1) -> bytes:
    """What comes until something was said so often."""
    received = b""
    with trio.fail_after(ANSWER_MAX_S):
        while received.count(wanted) < count:
            more = await stream.receive_some()
            assert more, f"the server hung up after {received!r}"
            received += more
    return received


async def test_a_connection_is_kept_for_many_requests(dtm: Dtm) -> None:
    async with await connect(dtm) as stream:
        for _ in range(20):
            await stream.send_all(GET)
            assert (await read_until(stream, PONG)).startswith(b"HTTP/1.1 200")


async def test_pipelined_requests_are_answered_in_their_order(dtm: Dtm) -> None:
    bodies = [json.dumps({"gid": new_gid(), "trans_type": name}).encode() for name in ("saga", "nonsense", "saga")]
    requests = [
        b"POST /api/dtmsvr/submit HTTP/1.1\r\nHost: dtm\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        for body in bodies
    ]
    async with await connect(dtm) as stream:
        await stream.send_all(b"".join(requests) + GET)
        answers = await read_until(stream, PONG)
    # An answer's body ends without a newline, so the next status line follows it on the same line.
    statuses = [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"500", b"200", b"200"]


@pytest.mark.parametrize("size", [1, 7, 4096])
async def test_a_chunked_body_is_a_body(dtm: Dtm, size: int) -> None:
    body = json.dumps({"gid": new_gid(), "trans_type": "saga", "wait_result": True}).encode()
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    async with await connect(dtm) as stream:
        await stream.send_all(b"POST /api/dtmsvr/submit HTTP/1.1\r\nHost: dtm\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in chunks:
            await stream.send_all(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        await stream.send_all(b"0\r\n\r\n")
        assert (await read_until(stream, b"SUCCESS")).startswith(b"HTTP/1.1 200")


async def test_a_request_that_comes_byte_by_byte_is_a_request(dtm: Dtm) -> None:
    async with await connect(dtm) as stream:
        for at in range(len(GET)):
            await stream.send_all(GET[at : at + 1])
        assert (await read_until(stream, PONG)).startswith(b"HTTP/1.1 200")


async def test_the_wish_to_close_is_granted(dtm: Dtm) -> None:
    async with await connect(dtm) as stream:
        await stream.send_all(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await read_until(stream, PONG)
        with trio.fail_after(ANSWER_MAX_S):
            assert await stream.receive_some() == b""


@pytest.mark.parametrize(
    "broken",
    [
        b"GET",
        b"POST /api/dtmsvr/submit HTTP/1.1\r\nHost: dtm\r\nContent-Length: 100\r\n\r\n{",
        b"POST /api/dtmsvr/submit HTTP/1.1\r\nHost: dtm\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ],
)
async def test_a_client_that_breaks_off_harms_nobody(dtm: Dtm, broken: bytes) -> None:
    async with await connect(dtm) as stream:
        await stream.send_all(broken)
    assert (await dtm.ask("GET", "/api/ping")).body == PONG


async def test_a_participants_connection_may_end_or_go_on_and_its_body_may_come_in_chunks(
    dtm: Dtm, participant: Participant
) -> None:
    participant.replies("/a", Reply(is_chunked=True))
    participant.replies("/b", Reply(closes=True))
    participant.replies("/c", Reply(status=409, body=b"no", is_chunked=True, closes=True))
    order = saga(participant, "/a", "/b", "/c", wait_result=True)
    answer = await dtm.post("submit", order)
    assert answer.json["message"] == f"url:{participant.url}/c return failed: no FAILURE"
    assert participant.paths == ["/a", "/b", "/c", "/c-undo", "/b-undo", "/a-undo"]
