"""Both sides of gRPC for the compatibility tests: a client of the server under test, and a scripted participant.

The law of this file: messages are made from the .proto file by protoc, and calls by grpcio in threads: nothing of the
product helps.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import trio
from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from tests.compat.web import ANSWER_MAX_S

PROTOS = Path(__file__).parents[2] / "docs" / "reference" / "proto"


class Messages:
    """DTM's messages: ``messages.DtmRequest(Gid="g")``."""

    def __getattr__(self, name: str) -> Any:
        return message_factory.GetMessageClass(_compiled().FindMessageTypeByName(f"dtmgimp.{name}"))


@cache
def _compiled() -> DescriptorPool:
    """What protoc makes of the .proto file."""
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", "--include_imports"]
    with TemporaryDirectory() as folder:
        out = Path(folder, "descriptors")
        subprocess.run([*command, f"--descriptor_set_out={out}", "dtmgimp.proto"], check=True)
        described = FileDescriptorSet.FromString(out.read_bytes())
    pool = DescriptorPool()
    for file in described.file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


messages = Messages()


def request_of(order: dict[str, Any]) -> Any:
    """The DtmRequest that says what a body of the REST API says."""
    return messages.DtmRequest(
        Gid=order.get("gid", ""),
        TransType=order.get("trans_type", ""),
        TransOptions=messages.DtmTransOptions(
            WaitResult=order.get("wait_result", False),
            TimeoutToFail=order.get("timeout_to_fail", 0),
            RetryInterval=order.get("retry_interval", 0),
            BranchHeaders=order.get("branch_headers", {}),
            RequestTimeout=order.get("request_timeout", 0),
            RetryLimit=order.get("retry_limit", 0),
        ),
        CustomedData=order.get("custom_data", ""),
        BinPayloads=[payload.encode() for payload in order.get("payloads", [])],
        QueryPrepared=order.get("query_prepared", ""),
        Steps=json.dumps(order["steps"]) if "steps" in order else "",
        ReqExtra=order.get("req_extra", {}),
        RollbackReason=order.get("rollback_reason", ""),
    )


def branch_request_of(branch: dict[str, str]) -> Any:
    """The DtmBranchRequest that says what a body of registerBranch says."""
    return messages.DtmBranchRequest(
        Gid=branch["gid"],
        TransType=branch["trans_type"],
        BranchID=branch["branch_id"],
        Data={name: said for name, said in branch.items() if name not in ("gid", "trans_type", "branch_id", "data")},
        BusiPayload=branch.get("data", "").encode(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call ended."""

    code: str
    details: str = ""
    reply: bytes = b""


OK = Ended(code="OK")


@dataclass(frozen=True, slots=True)
class GrpcDtm:
    """The gRPC API of the server at ``address``."""

    address: str

    async def call(self, method: str, message: Any = None) -> Ended:
        """One call of DTM's service."""
        return await self.call_path(f"/dtmgimp.Dtm/{method}", b"" if message is None else message.SerializeToString())

    async def call_path(self, path: str, body: bytes) -> Ended:
        """One call of whatever service."""
        return await trio.to_thread.run_sync(self._call, path, body)

    def _call(self, path: str, body: bytes) -> Ended:
        with grpc.insecure_channel(self.address) as channel:
            method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
            future = method.future(body, timeout=ANSWER_MAX_S)
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

    @contextmanager
    def serving(self) -> Generator[None]:
        """Listen on a port of the system's choice."""
        server = grpc.server(futures.ThreadPoolExecutor(8), [self], options=[("grpc.so_reuseport", 0)])
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield
        finally:
            server.stop(grace=None).wait()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens in another thread or process."""
    with trio.fail_after(ANSWER_MAX_S):
        while not condition():  # noqa: ASYNC110 - threads of another library write it
            await trio.sleep(0.01)
