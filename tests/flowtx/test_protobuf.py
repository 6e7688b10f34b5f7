"""DTM's protobuf messages: the table is the .proto file, and reads what other programs write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from hypothesis import given
from hypothesis import strategies as st

from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.grpc_requests import parse_message, parse_transaction_request
from flowtx.dtm.wire.requests import TransactionRequest
from flowtx.protobuf import MESSAGES, file_descriptor, make_message
from flowtx_dsl.remote import workflow_callback_body

PROTOS = Path(__file__).parents[2] / "docs" / "reference" / "proto"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> FileDescriptorSet:
    """The .proto files as protoc understands them."""
    out = tmp_path_factory.mktemp("protoc") / "descriptors"
    names = sorted(path.name for path in PROTOS.iterdir())
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", "--include_imports"]
    subprocess.run([*command, f"--descriptor_set_out={out}", *names], check=True)
    return FileDescriptorSet.FromString(out.read_bytes())


def test_the_table_is_what_the_proto_file_says(compiled: FileDescriptorSet) -> None:
    (expected,) = (file for file in compiled.file if file.name == "dtmgimp.proto")
    assert file_descriptor() == expected


def test_a_workflows_callback_is_the_message_of_its_proto_file(compiled: FileDescriptorSet) -> None:
    pool = DescriptorPool()
    for file in compiled.file:
        pool.AddSerializedFile(file.SerializeToString())
    data = message_factory.GetMessageClass(pool.FindMessageTypeByName("workflow.WorkflowData"))
    for length in (0, 1, 127, 128, 70_000):
        assert workflow_callback_body("grpc", b"x" * length) == data(Data=b"x" * length).SerializeToString()
    assert pool.FindServiceByName("workflow.Workflow").methods_by_name["Execute"].input_type is data.DESCRIPTOR


def test_a_request_becomes_what_the_same_request_over_http_becomes() -> None:
    message = make_message(
        "DtmRequest",
        Gid="g;1",
        TransType="saga",
        TransOptions={
            "WaitResult": True,
            "TimeoutToFail": -1,
            "RetryInterval": 2,
            "BranchHeaders": {"a": "b"},
            "RequestTimeout": 2**62,
            "RetryLimit": 4,
        },
        CustomedData="{}",
        BinPayloads=[b"\x00\xff", b""],
        QueryPrepared="q",
        Steps='[{"action":"a:1/S/M","x":"ü"},{}]',
        ReqExtra={"status": "succeed"},
        RollbackReason="because",
    )
    assert parse_transaction_request(message.SerializeToString()) == TransactionRequest(
        gid="g;1",
        trans_type="saga",
        steps=({"action": "a:1/S/M", "x": "ü"}, {}),
        payloads=(b"\x00\xff", b""),
        query_prepared="q",
        protocol="grpc",
        custom_data="{}",
        rollback_reason="because",
        req_extra={"status": "succeed"},
        wait_result=True,
        timeout_to_fail=-1,
        retry_interval=2,
        branch_headers={"a": "b"},
        request_timeout=2**62,
        retry_limit=4,
    )


def test_absent_options_and_the_field_that_was_used_once_mean_nothing() -> None:
    # Field 3, a message of 7 bytes: its field 4, the text "hello".
    old = make_message("DtmRequest", Gid="g").SerializeToString() + b"\x1a\x07\x22\x05hello"
    for message in (old, make_message("DtmRequest", Gid="g").SerializeToString()):
        assert parse_transaction_request(message) == TransactionRequest(gid="g", protocol="grpc")


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ("x", "field Steps: its text is not JSON"),
        ("{}", "field Steps: expected an array of objects of strings, got an object"),
        ("[1]", "field Steps[0]: expected an object of strings, got an integer"),
        ('[{"action":3}]', "field Steps[0].action: expected a string, got an integer"),
        ("[" * 100_000, "field Steps: its text is not JSON"),
    ],
)
def test_steps_that_are_none_are_refused_by_name(steps: str, text: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_transaction_request(make_message("DtmRequest", Steps=steps).SerializeToString())
    assert text in caught.value.message


def test_steps_may_be_null_or_absent() -> None:
    for steps in ("", "null", "[]"):
        assert parse_transaction_request(make_message("DtmRequest", Steps=steps).SerializeToString()).steps == ()


@pytest.mark.parametrize("name", sorted(MESSAGES))
@given(data=st.binary(max_size=100))
def test_whatever_bytes_come_in_are_a_message_or_refused(name: str, data: bytes) -> None:
    try:
        message = parse_message(name, data)
    except RequestError as error:
        assert error.message.startswith(f"the request is no {name} message")  # noqa: PT017 - both ends are right
    else:
        assert message.DESCRIPTOR.full_name == f"dtmgimp.{name}"


def with_steps(steps: str) -> bytes:
    serialized: bytes = make_message("DtmRequest", Steps=steps).SerializeToString()
    return serialized


@given(st.binary(max_size=100) | st.text().map(with_steps))
def test_whatever_bytes_come_in_are_a_request_or_refused(data: bytes) -> None:
    try:
        request = parse_transaction_request(data)
    except RequestError:
        return
    assert request.protocol == "grpc"
