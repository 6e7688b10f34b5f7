"""DTM's gRPC messages and the least of gRPC that the compatibility tests need, on either side.

The law of this file: the messages are described here by hand (spec 2.7), not taken from the product; bodies stay bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import trio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from tests.compat.web import ANSWER_MAX_S

Field = descriptor_pb2.FieldDescriptorProto
STRING, BYTES, BOOL, INT64 = Field.TYPE_STRING, Field.TYPE_BYTES, Field.TYPE_BOOL, Field.TYPE_INT64
STRINGS, MAP = "repeated bytes", "map of strings"

# Message, then number, name and type of every field; a name in place of a type is a message.
MESSAGES: dict[str, list[tuple[int, str, Any]]] = {
    "DtmTransOptions": [
        (1, "WaitResult", BOOL),
        (2, "TimeoutToFail", INT64),
        (3, "RetryInterval", INT64),
        (5, "BranchHeaders", MAP),
        (6, "RequestTimeout", INT64),
        (7, "RetryLimit", INT64),
    ],
    "DtmRequest": [
        (1, "Gid", STRING),
        (2, "TransType", STRING),
        (3, "TransOptions", "DtmTransOptions"),
        (4, "CustomedData", STRING),
        (5, "BinPayloads", STRINGS),
        (6, "QueryPrepared", STRING),
        (7, "Steps", STRING),
        (8, "ReqExtra", MAP),
        (9, "RollbackReason", STRING),
    ],
    "DtmGidReply": [(1, "Gid", STRING)],
    "DtmBranchRequest": [
        (1, "Gid", STRING),
        (2, "TransType", STRING),
        (3, "BranchID", STRING),
        (4, "Op", STRING),
        (5, "Data", MAP),
        (6, "BusiPayload", BYTES),
    ],
    "DtmTransaction": [(1, "Gid", STRING), (2, "Status", STRING), (3, "RollbackReason", STRING), (4, "Result", STRING)],
    "DtmProgress": [(1, "Status", STRING), (2, "BinData", BYTES), (3, "BranchID", STRING), (4, "Op", STRING)],
    "DtmProgressesReply": [(1, "Transaction", "DtmTransaction"), (2, "Progresses", ["DtmProgress"])],
    "DtmTopicRequest": [(1, "Topic", STRING), (2, "URL", STRING), (3, "Remark", STRING)],
    "WorkflowData": [(1, "Data", BYTES)],
}
PACKAGE = "tests.compat"


def _described() -> Callable[[str], type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name="tests/compat.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field_name, kind in fields:
            _add_field(message, number, field_name, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def _add_field(message: descriptor_pb2.DescriptorProto, number: int, name: str, kind: Any) -> None:
    made = message.field.add(name=name, number=number, label=Field.LABEL_OPTIONAL)
    if kind == MAP:
        entry = message.nested_type.add(name=f"{name}Entry")
        entry.options.map_entry = True
        _add_field(entry, 1, "key", STRING)
        _add_field(entry, 2, "value", STRING)
        kind = [f"{message.name}.{name}Entry"]
    if kind == STRINGS:
        made.label, made.type = Field.LABEL_REPEATED, BYTES
    elif isinstance(kind, list):
        made.label, made.type, made.type_name = Field.LABEL_REPEATED, Field.TYPE_MESSAGE, f".{PACKAGE}.{kind[0]}"
    elif isinstance(kind, str):
        made.type, made.type_name = Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        made.type = kind


_class_of = _described()


def make_message(name: str, **fields: Any) -> Any:
    """A message of DTM's protocol."""
    return _class_of(name)(**fields)


def read_message(name: str, body: bytes) -> Any:
    """A message of DTM's protocol, read."""
    return _class_of(name).FromString(body)


def make_request(dumps: Callable[[Any], str], request: dict[str, Any]) -> Any:
    """The DtmRequest that says what a body of the REST API says."""
    options = make_message(
        "DtmTransOptions",
        WaitResult=request.get("wait_result", False),
        TimeoutToFail=request.get("timeout_to_fail", 0),
        RetryInterval=request.get("retry_interval", 0),
        BranchHeaders=request.get("branch_headers", {}),
        RequestTimeout=request.get("request_timeout", 0),
        RetryLimit=request.get("retry_limit", 0),
    )
    return make_message(
        "DtmRequest",
        Gid=request.get("gid", ""),
        TransType=request.get("trans_type", ""),
        TransOptions=options,
        CustomedData=request.get("custom_data", ""),
        BinPayloads=[payload.encode() for payload in request.get("payloads", [])],
        QueryPrepared=request.get("query_prepared", ""),
        Steps=dumps(request["steps"]) if "steps" in request else "",
        ReqExtra=request.get("req_extra", {}),
        RollbackReason=request.get("rollback_reason", ""),
    )


def make_branch_request(branch: dict[str, str]) -> Any:
    """The DtmBranchRequest that says what a body of registerBranch says."""
    data = {name: value for name, value in branch.items() if name not in ("gid", "trans_type", "branch_id", "data")}
    return make_message(
        "DtmBranchRequest",
        Gid=branch["gid"],
        TransType=branch["trans_type"],
        BranchID=branch["branch_id"],
        Data=data,
        BusiPayload=branch.get("data", "").encode(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcTold:
    """How a call ended; ``body`` is the reply when it is OK."""

    code: grpc.StatusCode
    details: str
    body: bytes = b""


_channels: dict[str, grpc.Channel] = {}
_no_two_at_once = threading.Lock()


async def ask_grpc(target: str, method: str, body: bytes = b"") -> GrpcTold:
    """One unary call; ``method`` is ``/package.Service/Method``."""
    return await trio.to_thread.run_sync(_ask_in_thread, target, method, body)


def _ask_in_thread(target: str, method: str, body: bytes) -> GrpcTold:
    with _no_two_at_once:
        channel = _channels.setdefault(target, grpc.insecure_channel(target))
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    future = call.future(body, timeout=ANSWER_MAX_S)
    failed = future.exception()
    code, details = future.code(), future.details() or ""
    return GrpcTold(code=code, details=details, body=b"" if failed else future.result())


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcReply:
    """How a participant answers: with a status."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcCall:
    """One call that a participant got; ``time_s`` is how long it had."""

    method: str
    metadata: dict[str, str]
    body: bytes
    time_s: float


@dataclass
class GrpcParticipant(grpc.GenericRpcHandler):
    """A participant that answers every method by script and remembers who called; the last reply repeats."""

    address: str = ""
    calls: list[GrpcCall] = field(default_factory=list[GrpcCall])
    _scripts: dict[str, list[GrpcReply]] = field(default_factory=dict[str, list[GrpcReply]])

    def replies(self, method: str, *replies: GrpcReply) -> None:
        """Answer calls of ``/Service/Method`` with these in turn."""
        self._scripts[method] = list(replies)

    @property
    def methods(self) -> list[str]:
        """Which methods were called, in order."""
        return [call.method for call in self.calls]

    async def until_called(self, method: str, count: int = 1) -> None:
        """Wait until a method was called so often."""
        with trio.fail_after(ANSWER_MAX_S):
            while self.methods.count(method) < count:  # noqa: ASYNC110 - threads of another library write it
                await trio.sleep(0.01)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """What grpcio asks for every call."""
        method = handler_call_details.method

        def answer(body: bytes, context: grpc.ServicerContext) -> bytes:
            metadata = {item[0]: str(item[1]) for item in context.invocation_metadata()}
            self.calls.append(
                GrpcCall(method=method, metadata=metadata, body=body, time_s=context.time_remaining() or 0.0)
            )
            script = self._scripts.get(method, [GrpcReply()])
            reply = script.pop(0) if len(script) > 1 else script[0]
            if reply.code is not grpc.StatusCode.OK:
                context.abort(reply.code, reply.details)
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)

    def start(self) -> Callable[[], None]:
        """Serve on a port of the system; what is returned stops it."""
        server = grpc.server(ThreadPoolExecutor(4), handlers=[self])
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()

        def stop() -> None:
            server.stop(None).wait()

        return stop
