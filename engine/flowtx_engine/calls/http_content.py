"""Undoes what Content-Encoding says was done to a response body.

Law: pure, and safe against bombs: never more than `body_max` bytes come out, nor are they held in memory on the way.
"""

from __future__ import annotations

import zlib

from flowtx_engine.calls.http_types import HttpFault

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
_DEFLATE_METHOD = 8
# RFC 1952 lets a gzip body be many members in a row. Nobody sends more than one, and each costs a copy of what follows.
_GZIP_MEMBERS_MAX = 100

DECODABLE = frozenset({"gzip", "x-gzip", "deflate"})


def decode_content(body: bytes, coding: str, *, body_max: int) -> bytes:
    """Return `body` as it was before `coding` (one of `DECODABLE`) was applied; an empty body stays empty.

    Raises `HttpFault` when the body is not in that coding, ends early, or would be longer than `body_max` bytes.
    """
    if not body:
        return body
    try:
        if coding == "deflate":
            return _decode_deflate(body, body_max)
        return _decode_gzip(body, body_max)
    except zlib.error as error:
        raise HttpFault(f"the answer says that its body is in {coding}, and it is not ({error})") from error


def _decode_gzip(body: bytes, body_max: int) -> bytes:
    decoded, rest = _decode_member(body, _GZIP, body_max)
    if not rest:
        return decoded
    parts, decoded_count = [decoded], len(decoded)
    while rest:
        if len(parts) == _GZIP_MEMBERS_MAX:
            raise HttpFault(f"the answer's gzip body has more than {_GZIP_MEMBERS_MAX} members in a row")
        decoded, rest = _decode_member(rest, _GZIP, body_max - decoded_count)
        parts.append(decoded)
        decoded_count += len(decoded)
    return b"".join(parts)


def _decode_deflate(body: bytes, body_max: int) -> bytes:
    # RFC 9110 means zlib's format by "deflate"; some servers send the bare stream. RFC 1950 tells them apart.
    is_zlib = len(body) > 1 and body[0] & 0x0F == _DEFLATE_METHOD and (body[0] << 8 | body[1]) % 31 == 0
    decoded, rest = _decode_member(body, _ZLIB if is_zlib else _RAW, body_max)
    if rest:
        raise HttpFault(f"the answer's deflate body goes on for {len(rest)} bytes after its end")
    return decoded


def _decode_member(body: bytes, window_bits: int, decoded_max: int) -> tuple[bytes, bytes]:
    decoder = zlib.decompressobj(window_bits)
    decoded = decoder.decompress(body, decoded_max + 1)
    if len(decoded) > decoded_max:
        raise HttpFault("the answer's body is too long once it is decompressed")
    if not decoder.eof:
        raise HttpFault("the answer's compressed body ends early")
    return decoded, decoder.unused_data
