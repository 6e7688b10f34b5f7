"""Participants that misbehave over HTTP, JSON-RPC and gRPC, so that the engine is always at work.

The law of this file: below ``/good`` every call succeeds at once. Elsewhere anything may happen, but a gid that was
called ``HEALED_AFTER`` times has had its share, so that its transaction ends.
"""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import Random
from time import sleep
from urllib.parse import parse_qs

import grpc
import trio

HEALED_AFTER = 4
GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{"dtm_result":"SUCCESS"}\n'
SAID: tuple[bytes, ...] = (
    b"HTTP/1.1 409 Conflict\r\nContent-Length: 7\r\n\r\nFAILURE",
    b"HTTP/1.1 425 Too Early\r\nContent-Length: 7\r\n\r\nONGOING",
    b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops",
    b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x00\x01\x02",
    b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut short",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nnonsense\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x00\x00",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"Content-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000,
    b'HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{"jsonrpc":"2.0","result":[],"id":null}\n\n',
    b'HTTP/1.1 200 OK\r\nContent-Length: 59\r\n\r\n{"jsonrpc":"2.0","error":{"code":-32901,"message":"FAILURE"}',
    b"\x00\x01\x02 this is no HTTP \xff\xfe",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"",
)
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Participants:
    """Both kinds, at ``url`` and ``grpc``; ``seed`` decides what they do."""

    def __init__(self, seed: str) -> None:
        self.url = ""
        self.grpc = ""
        self.asked: Counter[str] = Counter()
        self.dice = Random(seed)

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until cancelled."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((_Misbehaving(self),))
        self.grpc = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(trio.serve_listeners, self._converse, listeners)
                task_status.started()
        finally:
            server.stop(None).wait(5)

    def has_had_its_share(self, gid: str) -> bool:
        """Count a call of a transaction, and say whether it is to be let alone from now on."""
        self.asked[gid] += 1
        return self.asked[gid] > HEALED_AFTER

    async def _converse(self, stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError):
            async with stream:
                kept = b""
                while (read := await _read_request(stream, kept)) is not None:
                    head, kept = read
                    if b" " not in head:
                        return  # the rest of HTTP/2's preface
                    target = head.split(b" ", 2)[1].decode("latin-1")
                    gid = parse_qs(target.partition("?")[2]).get("gid", [""])[0]
                    if target.startswith("/good") or self.has_had_its_share(gid):
                        await stream.send_all(GOOD)
                    elif not await self._misbehave(stream):
                        return

    async def _misbehave(self, stream: trio.SocketStream) -> bool:
        """Answer somehow; False when the connection is not to go on."""
        said = self.dice.choice((GOOD, GOOD, *SAID))
        match self.dice.randrange(8):
            case 0:
                await trio.sleep(self.dice.uniform(0.1, 4.0))
            case 1:
                for at in range(min(len(said), 40)):
                    await stream.send_all(said[at : at + 1])
                    await trio.sleep(0.05)
                return False
            case 2:
                await stream.send_all(said[: self.dice.randrange(len(said) + 1)])
                return False
            case _:
                pass
        await stream.send_all(said)
        return said is GOOD


async def _read_request(stream: trio.SocketStream, kept: bytes) -> tuple[bytes, bytes] | None:
    """The head of the next request, its body read and dropped, and what came behind it; None when there is none."""
    received = kept
    while b"\r\n\r\n" not in received:
        more = await stream.receive_some()
        if not more:
            return None
        received += more
    head, _, rest = received.partition(b"\r\n\r\n")
    length = int(found[1]) if (found := LENGTH.search(head)) else 0
    while len(rest) < length:
        more = await stream.receive_some()
        if not more:
            return None
        rest += more
    return head, rest[length:]


class _Misbehaving(grpc.GenericRpcHandler):
    def __init__(self, participants: Participants) -> None:
        self._participants = participants

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Every method, each answered somehow."""
        gid = next((str(value) for name, value in handler_call_details.invocation_metadata if name == "dtm-gid"), "")
        is_good = handler_call_details.method.endswith("/Good")

        def answer(body: bytes, context: grpc.ServicerContext) -> bytes:
            if is_good or self._participants.has_had_its_share(gid):
                return b""
            dice = self._participants.dice
            sleep(dice.choice((0.0, 0.0, 0.0, 0.5, 2.0)))
            code = dice.choice(list(grpc.StatusCode))
            if code is not grpc.StatusCode.OK:
                context.abort(code, dice.choice(("FAILURE", "ONGOING", "", "é" * 500)))
            return dice.randbytes(dice.randrange(2000))

        return grpc.unary_unary_rpc_method_handler(answer)
