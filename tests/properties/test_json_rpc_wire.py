"""JSON-RPC envelopes: whatever bytes come in, they are a call or refused, and a refusal can be written."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.json_rpc import parse_call, spell_answer, spell_call

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
envelopes = st.fixed_dictionaries(
    {}, optional={"jsonrpc": json_values, "method": json_values, "id": json_values, "params": json_values}
)
bodies = (
    st.binary(max_size=200) | json_values.map(json.dumps).map(str.encode) | envelopes.map(json.dumps).map(str.encode)
)


@given(bodies)
@example(b'{"params":' + b"[" * 990 + b"]" * 990 + b"}")
@example(b'{"params":[1e400,' + str(2**80).encode() + b"]}")
@example(b'{"id":"\\ud800","params":"\\udfff","method":"\\ud800"}')
@example(b'{"params":{"\\ud800":1}}')
def test_whatever_comes_in_is_a_call_that_can_be_repeated_or_a_request_error(body: bytes) -> None:
    try:
        call = parse_call(body)
    except RequestError:
        return
    json.loads(spell_answer(call.id, result=spell_call(call)))


@given(st.text(min_size=1).filter(str.isprintable), st.text(), json_values)
def test_a_well_formed_call_is_read_as_it_was_written(call_id: str, method: str, params: object) -> None:
    body = json.dumps({"id": call_id, "jsonrpc": "2.0", "method": method, "params": params})
    call = parse_call(body.encode(errors="surrogatepass"))
    assert call.is_well_formed
    assert (call.id, call.method) == (call_id, method)
