"""Undoes what Content-Encoding says was done to a response body.

Law: pure, and safe against bombs: never more than `body_max` bytes come out, nor are they held in memory on the way.
"""

from __future__ import annotations

import zlib

from flowtx_engine.calls.http_types import AnswerTooLong, HttpFault

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
_DEFLATE_METHOD = 8
# RFC 1952 lets a gzip body be many members in a row. Nobody sends more than one, and each costs a copy of what follows.
_GZIP_MEMBERS_MAX = 100

DECODABLE = frozenset({"gzip", "x-gzip", "deflate"})


def decode_content(body: bytes, coding: str, *, body_max: int) -> bytes:
    """Return `body` as it was before `coding` (one of `DECODABLE`) was applied; an empty body stays empty.

    Raises `HttpFault` when the body is not in that coding or ends early, `AnswerTooLong` when it would be longer than
    `body_max` bytes.
    """
    if not body:
        return body
    try:
        decoded = _decode_deflate(body, body_max) if coding == "deflate" else _decode_gzip(body, body_max)
    except zlib.error as error:
        raise HttpFault(f"the answer says that its body is in {coding}, and it is not ({error})") from error
    if len(decoded) > body_max:
        raise AnswerTooLong(f"the body of the answer is longer than {body_max} bytes once it is decompressed")
    return decoded


# The decoders stop at one byte too many, and leave it to their caller to notice.


def _decode_gzip(body: bytes, body_max: int) -> bytes:
    decoded, rest = _decode_member(body, _GZIP, body_max)
    if not rest:
        return decoded
    whole = bytearray(decoded)
    for _ in range(_GZIP_MEMBERS_MAX):
        decoded, rest = _decode_member(rest, _GZIP, body_max - len(whole))
        whole += decoded
        if not rest or len(whole) > body_max:
            return bytes(whole)
    raise HttpFault(f"the gzip body of the answer has more than {_GZIP_MEMBERS_MAX} members in a row")


def _decode_deflate(body: bytes, body_max: int) -> bytes:
    # RFC 9110 means zlib's format by "deflate"; some servers send the bare stream. RFC 1950 tells them apart.
    is_zlib = len(body) > 1 and body[0] & 0x0F == _DEFLATE_METHOD and (body[0] << 8 | body[1]) % 31 == 0
    decoded, rest = _decode_member(body, _ZLIB if is_zlib else _RAW, body_max)
    if rest:
        raise HttpFault(f"the deflate body of the answer goes on for {len(rest)} bytes after its end")
    return decoded


def _decode_member(body: bytes, window_bits: int, decoded_max: int) -> tuple[bytes, bytes]:
    decoder = zlib.decompressobj(window_bits)
    decoded = decoder.decompress(body, decoded_max + 1)
    if not decoder.eof and len(decoded) <= decoded_max:
        raise HttpFault("the compressed body of the answer ends early")
    return decoded, decoder.unused_data
