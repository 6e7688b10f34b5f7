"""An attacker that speaks no whole HTTP: half requests, nonsense in heads, wrong lengths, drips, and connections held.

The law of this file: every connection ends within ``HELD_MAX_S``, and how it ends is noted.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from random import Random
from urllib.parse import urlsplit

import trio

from tests.fuzz import nonsense
from tests.fuzz.frames import h2_bytes
from tests.fuzz.judge import STATUS_LINE, wrong_with_raw
from tests.fuzz.scene import LOST, Scene

READ_MAX_S = 1.0
HELD_MAX_S = 20.0
DRIP_S = 0.05
PATHS = (
    "/",
    "/api/ping",
    "/api/dtmsvr/submit",
    "/api/dtmsvr/query?gid=%zz",
    "//api//ping",
    "*",
    "http://a/b",
    "/" * 99,
)
METHODS = ("GET", "POST", "PUT", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PRI", "get", "X" * 300, "G\xe9T")
HEADS = (
    *("Content-Length: 5", "Content-Length: -1", "Content-Length: 5, 5", "Content-Length: 99999999999999999999"),
    *("Content-Length: 0x5", "Content-Length:", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked, chunked"),
    *("Transfer-Encoding: gzip", "Transfer-Encoding: \x0bchunked", "Connection: close", "Connection: upgrade"),
    *("Upgrade: websocket", "Upgrade: h2c", "HTTP2-Settings: %%%", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    *("Sec-WebSocket-Key: a", "Sec-WebSocket-Version: 13", "Expect: 100-continue", "Expect: nothing"),
    *("traceparent: 00-zz", "X: " + "y" * 20_000, "X : y", " folded", "\x00: \x00", ": nameless", "nocolon", "Host: b"),
    *("Content-Type: application/json; charset=nonsense", "Content-Encoding: gzip", "Accept-Encoding: \xff"),
)
CHUNKS = (
    b"5\r\nhello\r\n0\r\n\r\n",
    b"zz\r\n",
    b"5;" + b"x" * 5000 + b"\r\n",
    b"-1\r\n",
    b"ffffffffffffffff\r\n",
    b"5\r\nhi",
)


async def attack_bytes(scene: Scene) -> None:
    """Connections over which nonsense comes, until cancelled."""
    dice = scene.dice
    async with trio.open_nursery() as nursery:
        held = trio.CapacityLimiter(8)
        while True:
            said = whole(dice) if dice.random() < 0.8 else h2_bytes(dice)
            if dice.random() < 0.3:
                said = nonsense.spoilt(dice, said)
            if dice.random() < 0.05 and held.available_tokens:
                nursery.start_soon(_hold, scene, said[: dice.randrange(len(said) + 1)], held)
            else:
                await _exchange(scene, said)


def whole(dice: Random) -> bytes:
    """Some requests behind one another, nearly whole."""
    return b"".join(_request(dice) for _ in range(dice.choice((1, 1, 1, 2, 30))))


def _request(dice: Random) -> bytes:
    version = dice.choice(("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/11", ""))
    lines = [f"{dice.choice(METHODS)} {dice.choice(PATHS)} {version}"]
    if dice.random() < 0.9:
        lines.append("Host: dtm")
    lines += [dice.choice(HEADS) for _ in range(dice.randrange(5))]
    body = dice.choice((b"", b"hello", b'{"gid":', *CHUNKS))
    return (dice.choice(("\r\n", "\r\n", "\n")).join(lines) + "\r\n\r\n").encode("latin-1") + body


async def _connect(scene: Scene) -> trio.SocketStream:
    place = urlsplit(scene.dtm.url)
    return await trio.open_tcp_stream("127.0.0.1", place.port or 80)


async def _exchange(scene: Scene, said: bytes) -> None:
    """Send, in one of several ways, and see what comes."""
    dice = scene.dice
    way = dice.choice(("whole", "whole", "whole", "drip", "half-closed", "reset"))
    received, end = b"", "held open"
    try:
        async with await _connect(scene) as stream:
            if way == "drip":
                for at in range(0, min(len(said), 60), 3):
                    await stream.send_all(said[at : at + 3])
                    await trio.sleep(DRIP_S)
            else:
                await stream.send_all(said)
            if way == "half-closed":
                await stream.send_eof()
            if way == "reset":
                stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
                scene.book.note(scene.name, "reset by us")
                return
            with trio.move_on_after(READ_MAX_S):
                async for part in stream:
                    received += part
                end = "closed"
    except LOST:
        end = "closed"
    statuses = STATUS_LINE.findall(received)
    scene.book.note(scene.name, f"{statuses[0].decode()}, {end}" if statuses else end)
    if wrong := wrong_with_raw(received):
        scene.book.find(wrong, repr(received[:2000]), said)


async def _hold(scene: Scene, said: bytes, held: trio.CapacityLimiter) -> None:
    """Say something and then nothing, for long."""
    async with held:
        end = "held for long, and open"
        with suppress(*LOST):
            async with await _connect(scene) as stream:
                await stream.send_all(said)
                with trio.move_on_after(HELD_MAX_S):
                    while await stream.receive_some():
                        pass
                    end = "held for long, and closed"
        scene.book.note(scene.name, end)
