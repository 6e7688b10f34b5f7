"""DTM's gRPC requests: from the bytes of a message to the typed values that HTTP's bodies become, too (spec 2.7).

The law of this file: gids stay as they are (spec 1), and a transaction that came over gRPC has the protocol grpc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from google.protobuf.message import DecodeError

from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.go_json import parse, read_string_maps
from flowtx.dtm.wire.requests import BranchRequest, TransactionRequest
from flowtx.protobuf import read_message

PROTOCOL = "grpc"


def parse_message(name: str, data: bytes) -> Any:
    """A message of this name, as ``flowtx.protobuf`` knows it; raises ``RequestError`` for bytes that are none."""
    try:
        return read_message(name, data)
    except DecodeError as error:
        raise RequestError(f"the request is no {name} message: {error}") from error


def parse_transaction_request(message: bytes) -> TransactionRequest:
    """The request in a ``DtmRequest``; raises ``RequestError``."""
    found = parse_message("DtmRequest", message)
    options = found.TransOptions  # absent, it is all zeros
    return TransactionRequest(
        gid=found.Gid,
        trans_type=found.TransType,
        steps=_steps_of(found.Steps),
        payloads=tuple(found.BinPayloads),
        query_prepared=found.QueryPrepared,
        protocol=PROTOCOL,
        custom_data=found.CustomedData,
        rollback_reason=found.RollbackReason,
        req_extra=dict(found.ReqExtra),
        wait_result=options.WaitResult,
        timeout_to_fail=options.TimeoutToFail,
        request_timeout=options.RequestTimeout,
        retry_interval=options.RetryInterval,
        branch_headers=dict(options.BranchHeaders),
        retry_limit=options.RetryLimit,
    )


def parse_branch_request(message: bytes) -> BranchRequest:
    """The branch in a ``DtmBranchRequest``; raises ``RequestError``. Its field Op is for nobody: Data holds the op."""
    found = parse_message("DtmBranchRequest", message)
    known = {name: found.Data[name] for name in _BRANCH_FIELDS if name in found.Data}
    return BranchRequest(
        gid=found.Gid, trans_type=found.TransType, branch_id=found.BranchID, data=found.BusiPayload, **known
    )


_BRANCH_FIELDS = ("confirm", "cancel", "url", "op", "status")
"""What the types read from Data; ``sync`` needs no heeding."""


def _steps_of(text: str) -> tuple[Mapping[str, str], ...]:
    if not text:
        return ()
    try:
        document = parse(text.encode())
    except RequestError as error:
        raise RequestError(f"field Steps: {error.message.replace('the body', 'its text', 1)}") from error
    return cast("tuple[Mapping[str, str], ...]", read_string_maps(document, "Steps"))
