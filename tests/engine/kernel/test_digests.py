"""Digests of long payloads: what they tell apart, what they do not, and what making one costs."""

from __future__ import annotations

import hashlib
import tracemalloc
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtx_engine.kernel.digests import DEPTH_MAX, digest_of

_atoms = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5)
values = st.recursive(
    _atoms,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


def backwards(value: Any) -> Any:
    """The same value, with the keys of its objects the other way round."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {key: backwards(members[key]) for key in reversed(members)}
    return [backwards(each) for each in cast("Any", value)] if isinstance(value, list) else value


@given(values)
def test_a_digest_is_that_of_the_payload_with_its_keys_in_order(value: Any) -> None:
    payload = msgspec.json.encode(value)
    in_order = msgspec.json.encode(msgspec.json.decode(payload), order="sorted")
    assert digest_of(payload) == hashlib.sha256(in_order).hexdigest()
    assert digest_of(msgspec.json.encode(backwards(value))) == digest_of(payload)


@pytest.mark.parametrize("depth", [1, DEPTH_MAX - 1, DEPTH_MAX, DEPTH_MAX + 1, 500])
def test_a_payload_may_be_nested_as_deep_as_json_is_read(depth: int) -> None:
    one = b'{"a":' * depth + b'[{"c":1,"b":2}]' + b"}" * depth
    other = b'{"a":' * depth + b'[{"b":2,"c":1}]' + b"}" * depth
    assert digest_of(one) == digest_of(other)
    assert digest_of(one) != digest_of(one.replace(b"2", b"3"))


@pytest.mark.parametrize("shape", [b'["%s"]', b'[{"text":"%s","a":1}]', b'[[{"b":{"text":"%s"}}],"{"]'])
def test_making_one_keeps_no_copy_of_the_payload(shape: bytes) -> None:
    payload = shape % (b"x" * 4_000_000)
    tracemalloc.start()
    try:
        digest_of(payload)
        assert tracemalloc.get_traced_memory()[1] < 400_000
    finally:
        tracemalloc.stop()
