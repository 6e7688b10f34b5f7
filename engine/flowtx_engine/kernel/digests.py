"""Digests of payloads that are too long to be kept beside what was asked.

The law of this file: one payload has one digest, in whatever order an object's keys stand, and making it keeps no copy
of the payload: only what holds objects is taken apart, and into views.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import msgspec

DEPTH_MAX = 8
"""What is nested deeper than this is decoded as a whole: each level of views is one more look at all that is below."""

_by_key = msgspec.json.Encoder(order="sorted")
_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_dict_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_object = re.compile(rb"\{")


def digest_of(payload: bytes) -> str:
    """The SHA-256 of a payload, in hex; the order of an object's keys does not count."""
    digest = hashlib.sha256()
    _feed(memoryview(payload), digest.update, depth=0)
    return digest.hexdigest()


def _feed(json: memoryview, update: Callable[[bytes | memoryview], None], *, depth: int) -> None:
    opening = bytes(json[:1])
    if opening not in (b"{", b"[") or _object.search(json) is None:
        update(json)
    elif depth == DEPTH_MAX:
        update(_by_key.encode(msgspec.json.decode(json)))
    elif opening == b"[":
        _feed_all(b"[", [(b"", part) for part in _list_decoder.decode(json)], b"]", update, depth=depth + 1)
    else:
        members = sorted(_dict_decoder.decode(json).items())
        parts = [(_by_key.encode(name) + b":", part) for name, part in members]
        _feed_all(b"{", parts, b"}", update, depth=depth + 1)


def _feed_all(
    opening: bytes,
    parts: list[tuple[bytes, msgspec.Raw]],
    closing: bytes,
    update: Callable[[bytes | memoryview], None],
    *,
    depth: int,
) -> None:
    for place, (name, part) in enumerate(parts):
        update((b"," if place else opening) + name)
        _feed(memoryview(part), update, depth=depth)
    update(closing if parts else opening + closing)
