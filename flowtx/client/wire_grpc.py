"""A DTM server over gRPC (spec 2.7).

The law of this file: a status means what it means over HTTP: ABORTED is refused, FAILED_PRECONDITION is ongoing, and
where no server answered nobody knows. Payloads are bytes here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec
from google.protobuf.message import DecodeError

from flowtx.client.answers import FoundTransaction, Prepared, Progress, WorkflowRow, shorten
from flowtx.client.errors import ServerError, ServerOngoing, ServerRefused, ServerUnreachable
from flowtx.client.exchanges import GRPC, ClientAnswer, ClientRequest, Exchange, ask
from flowtx.client.grpc_codes import ABORTED, FAILED_PRECONDITION, NO_ANSWER, OK, code_name
from flowtx.client.wire import Fields, MissingOperation
from flowtx.client.wire_http import no_address
from flowtx.protobuf import SERVICE, make_message, read_message
from flowtx_dsl.errors import WorkflowError

T = TypeVar("T")

_ADDRESS = re.compile(r"grpc://([^/?#\s]+:[0-9]{1,5})/?")


class GrpcWire:
    """A ``Wire`` over gRPC. ``url`` is like ``grpc://localhost:36790``."""

    protocol = "grpc"

    def __init__(self, url: str, *, timeout_s: float) -> None:
        found = _ADDRESS.fullmatch(url)
        if found is None:
            raise no_address(url)
        self.address = found[1]
        self._timeout_s = timeout_s

    def new_gid(self) -> Exchange[str]:
        """See ``Wire``."""
        request = self._request("NewGid", b"")
        gid: str = _reply("DtmGidReply", request, (yield from self._ask(request)), lambda reply: reply.Gid)
        return gid

    def write(
        self,
        operation: str,
        fields: Fields,
        payloads: Sequence[bytes] = (),
        *,
        timeout_s: float | None = None,
        is_last_word: bool = False,
    ) -> Exchange[None]:
        """See ``Wire``."""
        message = _transaction(fields, payloads)
        method = operation[0].upper() + operation[1:]
        yield from self._ask(self._request(method, message, timeout_s=timeout_s, is_last_word=is_last_word))

    def register(self, fields: Mapping[str, str], data: bytes) -> Exchange[None]:
        """See ``Wire``."""
        own = {"gid": "Gid", "trans_type": "TransType", "branch_id": "BranchID"}
        message = make_message(
            "DtmBranchRequest",
            **{own[name]: text for name, text in fields.items() if name in own},
            Data={name: text for name, text in fields.items() if name not in own},
            BusiPayload=data,
        )
        yield from self._ask(self._request("RegisterBranch", message.SerializeToString()))

    def prepare_workflow(self, fields: Fields) -> Exchange[Prepared]:
        """See ``Wire``. Over gRPC a server does not tell the options that a workflow was begun with."""
        request = self._request("PrepareWorkflow", _transaction(fields, ()))
        return _reply("DtmProgressesReply", request, (yield from self._ask(request)), _prepared)

    def query(self, gid: str) -> Exchange[FoundTransaction | None]:
        """Raises ``MissingOperation``."""
        raise MissingOperation("query", "gRPC")

    def force_stop(self, gid: str) -> Exchange[None]:
        """Raises ``MissingOperation``."""
        raise MissingOperation("forceStop", "gRPC")

    def subscribe(self, topic: str, url: str, remark: str) -> Exchange[None]:
        """See ``Wire``."""
        yield from self._ask(self._topic("Subscribe", Topic=topic, URL=url, Remark=remark))

    def unsubscribe(self, topic: str, url: str) -> Exchange[None]:
        """See ``Wire``."""
        yield from self._ask(self._topic("Unsubscribe", Topic=topic, URL=url))

    def delete_topic(self, topic: str) -> Exchange[None]:
        """See ``Wire``."""
        yield from self._ask(self._topic("DeleteTopic", Topic=topic))

    def _topic(self, method: str, **fields: str) -> ClientRequest:
        return self._request(method, make_message("DtmTopicRequest", **fields).SerializeToString())

    def _request(
        self, method: str, message: bytes, *, timeout_s: float | None = None, is_last_word: bool = False
    ) -> ClientRequest:
        return ClientRequest(
            method="CALL",
            url=f"{GRPC}{self.address}/{SERVICE}/{method}",
            body=message,
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
            is_last_word=is_last_word,
        )

    def _ask(self, request: ClientRequest) -> Exchange[ClientAnswer]:
        answer = yield from ask(request)
        if answer.status == OK:
            return answer
        said = f"{request.method} {request.url} ended in {code_name(answer.status)}: {shorten(answer.details)}"
        if answer.status in NO_ANSWER:
            raise ServerUnreachable(said)
        kinds = {ABORTED: ServerRefused, FAILED_PRECONDITION: ServerOngoing}
        raise kinds.get(answer.status, ServerError)(said, status=answer.status, body=answer.details)


def _reply(name: str, request: ClientRequest, answer: ClientAnswer, read: Callable[[Any], T]) -> T:
    try:
        return read(read_message(name, answer.body))
    except DecodeError as error:
        raise ServerError(
            f"{request.url} was answered with what is no {name}: {error}", status=answer.status, body=""
        ) from error


def _prepared(reply: Any) -> Prepared:
    row = reply.Transaction
    return Prepared(
        transaction=WorkflowRow(status=row.Status, rollback_reason=row.RollbackReason, result=row.Result),
        progresses=tuple(
            Progress(branch_id=each.BranchID, op=each.Op, status=each.Status, data=each.BinData)
            for each in reply.Progresses
        ),
    )


_TEXTS = {
    "gid": "Gid",
    "trans_type": "TransType",
    "custom_data": "CustomedData",
    "query_prepared": "QueryPrepared",
    "rollback_reason": "RollbackReason",
    "req_extra": "ReqExtra",
}
_OPTIONS = {
    "wait_result": "WaitResult",
    "timeout_to_fail": "TimeoutToFail",
    "retry_interval": "RetryInterval",
    "branch_headers": "BranchHeaders",
    "request_timeout": "RequestTimeout",
    "retry_limit": "RetryLimit",
}


def _transaction(fields: Fields, payloads: Sequence[bytes]) -> bytes:
    """A ``DtmRequest``; raises ``WorkflowError`` for what it cannot say."""
    if fields.get("concurrent"):
        raise WorkflowError(
            f"message {fields['gid']} is concurrent, which DTM's gRPC API cannot say",
            remedy="Submit it over HTTP, or let it reach its receivers in turn.",
        )
    message = make_message(
        "DtmRequest",
        **{_TEXTS[name]: value for name, value in fields.items() if name in _TEXTS},
        TransOptions={_OPTIONS[name]: value for name, value in fields.items() if name in _OPTIONS},
        BinPayloads=payloads,
    )
    if "steps" in fields:
        message.Steps = msgspec.json.encode(fields["steps"]).decode()
    return cast("bytes", message.SerializeToString())
