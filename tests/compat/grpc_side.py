"""Both sides of gRPC for the compatibility tests: a client of the server under test, and a scripted participant.

The law of this file: messages are made from the .proto file by protoc, and calls by grpcio in threads: nothing of the
product helps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import grpc
import trio
from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

ANSWER_MAX_S = 20.0
T = TypeVar("T")


class Messages:
    """DTM's messages: ``messages.DtmRequest(Gid="g")``."""

    def __init__(self, compiled: bytes) -> None:
        """``compiled`` is what protoc makes of the .proto file."""
        self.pool = DescriptorPool()
        for file in FileDescriptorSet.FromString(compiled).file:
            self.pool.AddSerializedFile(file.SerializeToString())

    def __getattr__(self, name: str) -> Any:
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(f"dtmgimp.{name}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call ended."""

    code: str
    details: str = ""
    reply: bytes = b""


OK = Ended(code="OK")


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcDtm:
    """The server's gRPC API at ``address``."""

    address: str
    channel: grpc.Channel

    async def call(self, method: str, message: Any = None, *, timeout_s: float = ANSWER_MAX_S) -> Ended:
        """One call of DTM's service, with a message or with bytes."""
        body = message if isinstance(message, bytes) else b"" if message is None else message.SerializeToString()
        return await self.call_path(f"/dtmgimp.Dtm/{method}", body, timeout_s=timeout_s)

    async def call_path(self, path: str, body: bytes, *, timeout_s: float = ANSWER_MAX_S) -> Ended:
        """One call of whatever service."""
        return await trio.to_thread.run_sync(partial(self._call, path, body, timeout_s))

    def _call(self, path: str, body: bytes, timeout_s: float) -> Ended:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(path)
        future = method.future(body, timeout=timeout_s)
        code = future.code()  # waits for the end
        reply = future.result() if code is grpc.StatusCode.OK else b""
        return Ended(code=code.name, details=future.details() or "", reply=reply)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One call that a participant got; ``left_s`` is how long it had."""

    path: str
    metadata: dict[str, str | bytes]
    body: bytes
    left_s: float


@dataclass
class GrpcParticipant(grpc.GenericRpcHandler):
    """A participant that answers by script and remembers who called, as ``web.Participant``.

    The methods in ``holds`` answer when their event is set.
    """

    address: str = ""
    heard: list[Heard] = field(default_factory=list[Heard])
    holds: dict[str, threading.Event] = field(default_factory=dict[str, threading.Event])
    _scripts: dict[str, list[Ended]] = field(default_factory=dict[str, list[Ended]])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, method: str) -> str:
        """What a transaction calls it by."""
        return f"{self.address}/busi.Busi/{method}"

    def replies(self, method: str, *replies: Ended) -> None:
        """What a method answers at its next calls; the last one repeats."""
        self._scripts[f"/busi.Busi/{method}"] = list(replies)

    @property
    def paths(self) -> list[str]:
        """What was called, in order, without the service."""
        return [each.path.rpartition("/")[2] for each in self.heard]

    async def until_heard(self, count: int) -> None:
        """Wait for so many calls."""
        await until(lambda: len(self.heard) >= count)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        path = handler_call_details.method
        metadata = dict(handler_call_details.invocation_metadata)

        def answer(body: bytes, context: grpc.ServicerContext) -> bytes:
            with self._lock:
                self.heard.append(Heard(path=path, metadata=metadata, body=body, left_s=context.time_remaining()))
                script = self._scripts.get(path) or [OK]
                reply = script.pop(0) if len(script) > 1 else script[0]
            if path in self.holds:
                self.holds[path].wait(ANSWER_MAX_S)
            if reply.code != "OK":
                context.abort(grpc.StatusCode[reply.code], reply.details)
            return reply.reply

        return grpc.unary_unary_rpc_method_handler(answer)

    def serve(self) -> grpc.Server:
        """Listen on a port of the system's choice."""
        server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        return server


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens in another thread or process."""
    with trio.fail_after(ANSWER_MAX_S):
        while True:
            if condition():
                return
            await trio.sleep(0.01)
