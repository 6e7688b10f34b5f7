"""Whatever is sent to the gRPC port and to the JSON-RPC endpoint has an answer, and so has the next caller."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import grpc
import msgspec
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowtx.dtm import json_rpc
from flowtx.dtm.grpc_api import METHODS, answer
from flowtx.dtm.grpc_server import open_grpc_server
from flowtx.dtm.operations.desk import Desk
from flowtx.protobuf import make_message
from flowtx.settings import Settings
from flowtx_engine.runtime.open import open_engine

WITHIN_S = 20.0
SETTINGS = Settings(db="memory://", grpc_bind="127.0.0.1:0", grace_s=1.0)
TLS = b"\x16\x03\x01\x02\x00\x01\x00"
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def serving(play: Callable[[str], Awaitable[None]]) -> None:
    """Run a server on an empty journal, and ``play`` against its address."""

    async def main() -> None:
        async with open_engine("memory://") as engine:
            desk = Desk(engine=engine, settings=SETTINGS)
            async with open_grpc_server(desk, SETTINGS) as server:
                await play(server.address)

    trio.run(main)


def new_gid(address: str) -> int:
    with grpc.insecure_channel(address) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/dtmgimp.Dtm/NewGid")
        return len(method(b"", timeout=WITHIN_S))


@given(st.lists(st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: HTTP2 + rest), max_size=5))
@example([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", TLS, HTTP2 + b"\xff" * 200, b"\x00" * 65_536])
@settings(max_examples=15)
def test_garbage_on_the_port_hurts_its_own_connection_only(parts: list[bytes]) -> None:
    async def play(address: str) -> None:
        host, _, port = address.rpartition(":")
        for part in parts:
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                with suppress(trio.BrokenResourceError):  # when the server has seen enough
                    await stream.send_all(part)
        assert await trio.to_thread.run_sync(new_gid, address) > 13

    serving(play)


types = st.sampled_from(["saga", "msg", "tcc", "xa", "workflow"]) | st.text(max_size=5)
few_gids = st.sampled_from(["a", "b"]) | st.text(max_size=140)
requests = st.builds(
    partial(make_message, "DtmRequest"),
    Gid=few_gids,
    TransType=types,
    Steps=st.text(max_size=20) | st.sampled_from(["[]", '[{"action":""}]', '[{"action":"a","compensate":"b"}]', "{}"]),
    BinPayloads=st.lists(st.binary(max_size=5), max_size=2),
    CustomedData=st.text(max_size=20) | st.sampled_from(['{"concurrent":true}', '{"orders":{"0":[0]}}', "[]", "null"]),
    ReqExtra=st.dictionaries(st.sampled_from(["status", "result", "x"]), st.text(max_size=8), max_size=3),
    QueryPrepared=st.text(max_size=5),
)
branches = st.builds(
    partial(make_message, "DtmBranchRequest"),
    Gid=few_gids,
    TransType=types,
    BranchID=st.text(max_size=5),
    Data=st.dictionaries(
        st.sampled_from(["confirm", "cancel", "url", "op", "status"]), st.text(max_size=8), max_size=5
    ),
    BusiPayload=st.binary(max_size=5),
)
messages = st.binary(max_size=200) | (requests | branches).map(lambda message: bytes(message.SerializeToString()))

CODES = {"OK", "ABORTED", "INTERNAL", "UNKNOWN", "FAILED_PRECONDITION"}


@given(st.lists(st.tuples(st.sampled_from(sorted(METHODS)), messages), max_size=8))
@settings(max_examples=40)
def test_whatever_message_comes_has_a_status_and_nothing_is_unforeseen(calls: list[tuple[str, bytes]]) -> None:
    async def main() -> None:
        async with open_engine("memory://") as engine:
            desk = Desk(engine=engine, settings=SETTINGS)
            for name, message in calls:
                status = await answer(METHODS[name], desk, message)
                assert status.code in CODES
                assert "internal error" not in status.details, (name, message, status)

    trio.run(main)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
params = json_values | st.fixed_dictionaries(
    {"gid": st.text(max_size=140), "trans_type": st.sampled_from(["saga", "msg", "tcc", "xa", "workflow", "what"])},
    optional={
        "branch_id": json_values,
        "custom_data": json_values,
        "data": json_values,
        "payloads": json_values | st.lists(st.text(max_size=3), max_size=2),
        "steps": json_values | st.lists(st.just({"action": "", "compensate": ""}), max_size=2),
    },
)
bodies = st.binary(max_size=200) | st.fixed_dictionaries(
    {
        "id": st.text(max_size=3) | json_values,
        "jsonrpc": st.just("2.0") | json_values,
        "method": st.sampled_from(sorted(json_rpc.METHODS)) | json_values,
        "params": params,
    }
).map(json.dumps).map(str.encode)


@given(st.lists(bodies, max_size=8))
@settings(max_examples=40)
def test_whatever_is_posted_has_an_answer_of_the_protocol(posted: list[bytes]) -> None:
    async def main() -> None:
        async with open_engine("memory://") as engine:
            desk = Desk(engine=engine, settings=SETTINGS)
            for body in posted:
                said = await json_rpc.answer(desk, body)
                document = msgspec.json.decode(said.body, type=dict[str, object])
                assert list(document) == ["error", "id", "jsonrpc", "result"]
                assert (said.status == 400) == (b"-32700" in said.body[:30])
                assert b"internal error" not in said.body, (body, said)

    trio.run(main)
