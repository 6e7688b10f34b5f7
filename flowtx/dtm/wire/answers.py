"""DTM's answers: the bytes of a body, spelled as Go spells JSON (spec 2.2).

The law of this file: a success never gains keys, because some clients map it onto strict classes, and never holds the
word FAILURE, because others search the whole body for it. Keys stand in alphabetical order.
"""

from __future__ import annotations

from typing import Final

import msgspec

CONTENT_TYPE: Final = "application/json; charset=utf-8"
SUCCESS: Final = b'{"dtm_result":"SUCCESS"}'

# These stand in JSON only inside strings, so they can be escaped in the finished text.
_ESCAPES: Final = (
    (b"&", b"\\u0026"),
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)

_encoder = msgspec.json.Encoder()


def encode(value: object) -> bytes:
    """A value as Go writes it: compact, with ``& < >`` and U+2028/9 escaped, for they end scripts in browsers."""
    text = _encoder.encode(value)
    for character, escape in _ESCAPES:
        if character in text:
            text = text.replace(character, escape)
    return text


def failure(message: str) -> bytes:
    """The body of a 409; FAILURE at its end is what old clients look for."""
    return encode({"dtm_result": "FAILURE", "message": with_failure(message)})


def ongoing(message: str) -> bytes:
    """The body of a 425."""
    return encode({"dtm_result": "ONGOING", "message": message})


def error(message: str) -> bytes:
    """The body of every other error; it has no ``dtm_result``."""
    return encode({"message": message})


def with_failure(message: str) -> str:
    """A message with `` FAILURE`` at its end, once."""
    return message if message.endswith(" FAILURE") else f"{message} FAILURE"
