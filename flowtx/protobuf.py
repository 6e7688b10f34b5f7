"""DTM's protobuf messages: their table, and the descriptors made of it (spec 2.7).

The law of this file: it is a table. The descriptors stand in a pool of their own, so that a program which has DTM's own
generated modules loaded too can load this. They are made at run time, because generated modules work with few releases
of protobuf, and these work with all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from google.protobuf import empty_pb2, message_factory
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

PACKAGE = "dtmgimp"
SERVICE = "dtmgimp.Dtm"
EMPTY = "google.protobuf.Empty"

METHODS: Mapping[str, tuple[str, str]] = {
    "NewGid": (EMPTY, "DtmGidReply"),
    "Submit": ("DtmRequest", EMPTY),
    "Prepare": ("DtmRequest", EMPTY),
    "Abort": ("DtmRequest", EMPTY),
    "RegisterBranch": ("DtmBranchRequest", EMPTY),
    "PrepareWorkflow": ("DtmRequest", "DtmProgressesReply"),
    "Subscribe": ("DtmTopicRequest", EMPTY),
    "Unsubscribe": ("DtmTopicRequest", EMPTY),
    "DeleteTopic": ("DtmTopicRequest", EMPTY),
}
"""The methods of the service: what each takes and gives."""

_STRING_MAP = "map<string, string>"

MESSAGES: Mapping[str, tuple[tuple[int, str, str], ...]] = {
    "DtmTransOptions": (
        (1, "bool", "WaitResult"),
        (2, "int64", "TimeoutToFail"),
        (3, "int64", "RetryInterval"),
        (5, _STRING_MAP, "BranchHeaders"),  # 4 was used once; who sends it is not refused
        (6, "int64", "RequestTimeout"),
        (7, "int64", "RetryLimit"),
    ),
    "DtmRequest": (
        (1, "string", "Gid"),
        (2, "string", "TransType"),
        (3, "DtmTransOptions", "TransOptions"),
        (4, "string", "CustomedData"),
        (5, "repeated bytes", "BinPayloads"),
        (6, "string", "QueryPrepared"),
        (7, "string", "Steps"),
        (8, _STRING_MAP, "ReqExtra"),
        (9, "string", "RollbackReason"),
    ),
    "DtmGidReply": ((1, "string", "Gid"),),
    "DtmBranchRequest": (
        (1, "string", "Gid"),
        (2, "string", "TransType"),
        (3, "string", "BranchID"),
        (4, "string", "Op"),
        (5, _STRING_MAP, "Data"),
        (6, "bytes", "BusiPayload"),
    ),
    "DtmProgressesReply": ((1, "DtmTransaction", "Transaction"), (2, "repeated DtmProgress", "Progresses")),
    "DtmTransaction": (
        (1, "string", "Gid"),
        (2, "string", "Status"),
        (3, "string", "RollbackReason"),
        (4, "string", "Result"),
    ),
    "DtmProgress": ((1, "string", "Status"), (2, "bytes", "BinData"), (3, "string", "BranchID"), (4, "string", "Op")),
    "DtmTopicRequest": ((1, "string", "Topic"), (2, "string", "URL"), (3, "string", "Remark")),
}
"""The messages: number, type and name of each field."""

JSON_NAMES: Mapping[str, Mapping[str, str]] = {
    "DtmProgressesReply": {"Transaction": "transaction", "Progresses": "progresses"},
    "DtmTransaction": {"Gid": "gid", "Status": "status", "RollbackReason": "rollback_reason", "Result": "result"},
    "DtmProgress": {"Status": "status", "BinData": "bin_data", "BranchID": "branch_id", "Op": "op"},
}
"""How the HTTP API calls fields of replies, which Go's client reads by the same messages; else a field's own name."""

_SCALARS = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "string": FieldDescriptorProto.TYPE_STRING,
}


def read_message(name: str, data: bytes) -> Any:
    """A message of this name, whose fields have the table's names; raises protobuf's ``DecodeError``."""
    return _class_of(name).FromString(data)


def make_message(name: str, **fields: object) -> Any:
    """A message of this name with these fields."""
    return _class_of(name)(**fields)


@lru_cache(maxsize=len(MESSAGES))
def _class_of(name: str) -> type[Message]:
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@lru_cache(maxsize=1)
def pool() -> DescriptorPool:
    """The descriptors of the service and all it is made of."""
    made = DescriptorPool()
    made.AddSerializedFile(empty_pb2.DESCRIPTOR.serialized_pb)
    made.AddSerializedFile(file_descriptor().SerializeToString())
    return made


def file_descriptor() -> FileDescriptorProto:
    """The tables above, as protobuf says them."""
    file = FileDescriptorProto(
        name="dtmgimp.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[empty_pb2.DESCRIPTOR.name],
        message_type=[_message(name) for name in MESSAGES],
    )
    service = file.service.add(name=SERVICE.removeprefix(f"{PACKAGE}."))
    service.method.extend(_methods())
    return file


def _methods() -> Iterator[MethodDescriptorProto]:
    for name, (taken, given) in METHODS.items():
        yield MethodDescriptorProto(name=name, input_type=_full_name(taken), output_type=_full_name(given))


def _full_name(name: str) -> str:
    return f".{name}" if name == EMPTY else f".{PACKAGE}.{name}"


def _message(name: str) -> DescriptorProto:
    message = DescriptorProto(name=name)
    for number, kind, field_name in MESSAGES[name]:
        field = message.field.add(
            name=field_name,
            number=number,
            label=FieldDescriptorProto.LABEL_OPTIONAL,
            json_name=JSON_NAMES.get(name, {}).get(field_name, field_name),
        )
        one = kind.removeprefix("repeated ")
        if one != kind or kind == _STRING_MAP:
            field.label = FieldDescriptorProto.LABEL_REPEATED
        if one in _SCALARS:
            field.type = _SCALARS[one]
            continue
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        if kind == _STRING_MAP:
            message.nested_type.append(_map_entry(field_name))
            field.type_name = f".{PACKAGE}.{name}.{field_name}Entry"
        else:
            field.type_name = _full_name(one)
    return message


def _map_entry(field_name: str) -> DescriptorProto:
    """A map of strings travels as repeated pairs; this is the pair."""
    entry = DescriptorProto(name=f"{field_name}Entry")
    entry.options.map_entry = True
    for number, name in ((1, "key"), (2, "value")):
        entry.field.add(
            name=name,
            number=number,
            label=FieldDescriptorProto.LABEL_OPTIONAL,
            type=FieldDescriptorProto.TYPE_STRING,
            json_name=name,
        )
    return entry
