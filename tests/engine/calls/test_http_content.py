"""What is undone of Content-Encoding, and what is refused."""

import gzip
import tracemalloc
import zlib
from functools import partial

import pytest

from flowtx_engine.calls.http_content import decode_content
from flowtx_engine.calls.http_types import HttpFault

packed = partial(gzip.compress, mtime=0)
"""Without the time, because what is packed becomes the name of a test, and every worker must find the same names."""


def test_an_empty_body_is_empty_in_every_coding() -> None:
    assert decode_content(b"", "gzip", body_max=10) == b""


def test_a_gzip_body_may_have_several_members() -> None:
    assert decode_content(packed(b"ab") + packed(b"") + packed(b"c"), "gzip", body_max=3) == b"abc"


@pytest.mark.parametrize("body", [zlib.compress(b"abc" * 100), zlib.compress(b"abc" * 100, wbits=-15)])
def test_deflate_is_understood_with_and_without_zlibs_frame(body: bytes) -> None:
    assert decode_content(body, "deflate", body_max=300) == b"abc" * 100


@pytest.mark.parametrize(
    ("body", "coding", "told"),
    [
        (packed(b"abc" * 100)[:-1], "gzip", "the compressed body of the answer ends early"),
        (packed(b"abc")[:5], "gzip", "the compressed body of the answer ends early"),
        (packed(b"abc") + packed(b"def")[:-3], "gzip", "ends early"),
        (zlib.compress(b"abc")[:-1], "deflate", "ends early"),
        (packed(b"abc") + b"garbage", "gzip", "says that its body is in gzip, and it is not"),
        (zlib.compress(b"abc") + b"rest", "deflate", "goes on for 4 bytes after its end"),
        (b"not it", "x-gzip", "says that its body is in x-gzip, and it is not"),
        (packed(b"a" * 11), "gzip", "longer than 10 bytes once it is decompressed"),
        (packed(b"abcdef") * 2, "gzip", "longer than 10 bytes once it is decompressed"),
        (packed(b"") * 500, "gzip", "more than 100 members in a row"),
    ],
)
def test_what_is_damaged_or_too_long_is_a_fault(body: bytes, coding: str, told: str) -> None:
    with pytest.raises(HttpFault, match=told):
        decode_content(body, coding, body_max=10 if "longer" in told else 1000)


def test_a_bomb_is_refused_before_it_takes_memory() -> None:
    bomb = packed(b"\0" * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(HttpFault, match="longer than 100000 bytes once it is decompressed"):
            decode_content(bomb, "gzip", body_max=100_000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1_000_000
