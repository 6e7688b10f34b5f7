"""Frames of HTTP/2 (RFC 9113) and calls of gRPC in them, well formed and not."""

from __future__ import annotations

from random import Random

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
METHODS = (
    "NewGid",
    "Submit",
    "Prepare",
    "Abort",
    "RegisterBranch",
    "PrepareWorkflow",
    "Subscribe",
    "DeleteTopic",
    "No",
)


def frame(kind: int, flags: int, stream_id: int, body: bytes = b"") -> bytes:
    """A frame; its length is right."""
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + body


def head(pairs: list[tuple[str, str]]) -> bytes:
    """Headers, as HPACK writes them when it compresses nothing (RFC 7541, 6.2.2); texts shorter than 127."""
    texts = [text.encode("latin-1")[:126] for pair in pairs for text in pair]
    return b"".join(b"\0" * (at % 2 == 0) + bytes([len(text)]) + text for at, text in enumerate(texts))


def grpc_head(dice: Random) -> bytes:
    """The head of a call, nearly always a good one."""
    pairs = [
        (":method", dice.choice(("POST", "POST", "POST", "POST", "GET"))),
        (":scheme", "http"),
        (
            ":path",
            dice.choice((f"/dtmgimp.Dtm/{dice.choice(METHODS)}", "/", "no path", "/grpc.health.v1.Health/Watch")),
        ),
        (":authority", "dtm"),
        ("content-type", dice.choice(("application/grpc", "application/grpc", "text/html", ""))),
        ("te", "trailers"),
        ("grpc-timeout", dice.choice(("1S", "1n", "99999999H", "-1S", "x"))),
        *[
            (dice.choice(("x-bin", "grpc-encoding", "Upper", ":again", "x")), dice.choice(("gzip", "%%%", "\xff", "")))
            for _ in range(dice.randrange(3))
        ],
    ]
    return head(pairs)


def h2_bytes(dice: Random) -> bytes:
    """A connection's worth of frames."""
    said = [PREFACE, frame(SETTINGS, 0, 0)]
    stream_id = 1
    for _ in range(dice.randrange(1, 12)):
        said.append(_some_frames(dice, stream_id))
        stream_id += dice.choice((0, 2, 2, 2))
    return b"".join(said)


def _some_frames(dice: Random, stream_id: int) -> bytes:
    match dice.randrange(12):
        case 0:
            return frame(dice.randrange(20), dice.randrange(256), dice.randrange(6), dice.randbytes(dice.randrange(40)))
        case 1:
            settings = b"".join(dice.randrange(10).to_bytes(2, "big") + dice.randbytes(4) for _ in range(4))
            return frame(SETTINGS, 0, 0, settings)
        case 2:
            return frame(PING, 0, 0, dice.randbytes(8)) * 50
        case 3:
            return frame(WINDOW_UPDATE, 0, dice.choice((0, stream_id)), dice.choice((b"\x7f\xff\xff\xff", b"\0\0\0\0")))
        case 4:
            return frame(HEADERS, 0, stream_id, grpc_head(dice)) + frame(CONTINUATION, 0, stream_id, b"\0\1a\1b") * 20
        case 5:
            return (frame(HEADERS, 4, stream_id, grpc_head(dice)) + frame(RST_STREAM, 0, stream_id, b"\0\0\0\x08")) * 5
        case 6:
            return frame(DATA, 1, stream_id, b"late")
        case 7:
            return frame(PRIORITY, 0, stream_id, stream_id.to_bytes(4, "big") + b"\x10")
        case _:
            message = dice.randbytes(dice.randrange(60))
            length = dice.choice((len(message), len(message), 0, 2**31, 17_000_000))
            return frame(HEADERS, 4, stream_id, grpc_head(dice)) + frame(
                DATA,
                dice.randrange(2),
                stream_id,
                bytes([dice.choice((0, 0, 0, 1, 255))]) + length.to_bytes(4, "big") + message,
            )
