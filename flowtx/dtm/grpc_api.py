"""DTM's gRPC API: from a message to an operation, and from its outcome to a status (spec 2.7).

The law of this file: the operations are those of HTTP; it knows messages and statuses as values, and no server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import assert_never

import msgspec

from flowtx.dtm.gids import new_gid
from flowtx.dtm.operations import abort, branches, prepare, submit, topics, workflows
from flowtx.dtm.operations.desk import Desk, answered
from flowtx.dtm.outcomes import Done, DtmError, DtmFailure, DtmOngoing, Outcome
from flowtx.dtm.wire.answers import with_failure
from flowtx.dtm.wire.grpc_requests import parse_branch_request, parse_message, parse_transaction_request
from flowtx.dtm.wire.views import WorkflowView
from flowtx.protobuf import make_message
from flowtx_engine.calls.grpc_step import status_in

Method = Callable[[Desk, bytes], Awaitable[Outcome]]

DETAILS_MAX = 1_000
"""The longest text of a status, in characters: clients refuse headers beyond 8 KiB, and each can take nine bytes."""


_CODES = {"crash": "INTERNAL", "undecodable": "INTERNAL", "overloaded": "UNAVAILABLE", "error": "UNKNOWN"}


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a call ends: a status by its name, its text, and the reply when it is OK."""

    code: str
    details: str = ""
    reply: bytes = b""


async def _new_gid(desk: Desk, message: bytes) -> Outcome:
    return Done(_reply("DtmGidReply", Gid=new_gid()))


async def _submit(desk: Desk, message: bytes) -> Outcome:
    return await submit.submit(desk, parse_transaction_request(message))


async def _prepare(desk: Desk, message: bytes) -> Outcome:
    return await prepare.prepare(desk, parse_transaction_request(message))


async def _abort(desk: Desk, message: bytes) -> Outcome:
    return await abort.abort(desk, parse_transaction_request(message))


async def _register_branch(desk: Desk, message: bytes) -> Outcome:
    return await branches.register_branch(desk, parse_branch_request(message))


async def _prepare_workflow(desk: Desk, message: bytes) -> Outcome:
    outcome = await workflows.prepare_workflow(desk, parse_transaction_request(message))
    return Done(_progresses_reply(outcome.value)) if isinstance(outcome, Done) else outcome


def _progresses_reply(view: object) -> bytes:
    """What is known of a workflow, its result too, which DTM leaves out over gRPC (spec 12.10)."""
    assert isinstance(view, WorkflowView), view
    transaction = view.transaction
    return _reply(
        "DtmProgressesReply",
        Transaction={
            "Gid": transaction.gid,
            "Status": transaction.status,
            "RollbackReason": transaction.rollback_reason,
            "Result": transaction.result,
        },
        Progresses=[
            {"Status": branch.status, "BinData": branch.bin_data, "BranchID": branch.branch_id, "Op": branch.op}
            for branch in view.progresses
        ],
    )


async def _subscribe(desk: Desk, message: bytes) -> Outcome:
    found = parse_message("DtmTopicRequest", message)
    return await topics.subscribe(desk, topic=found.Topic, url=found.URL, remark=found.Remark)


async def _unsubscribe(desk: Desk, message: bytes) -> Outcome:
    found = parse_message("DtmTopicRequest", message)
    return await topics.unsubscribe(desk, topic=found.Topic, url=found.URL)


async def _delete_topic(desk: Desk, message: bytes) -> Outcome:
    return await topics.delete_topic(desk, parse_message("DtmTopicRequest", message).Topic)


METHODS: Mapping[str, Method] = {
    "NewGid": _new_gid,
    "Prepare": _prepare,
    "Submit": _submit,
    "Abort": _abort,
    "RegisterBranch": _register_branch,
    "PrepareWorkflow": _prepare_workflow,
    "Subscribe": _subscribe,
    "Unsubscribe": _unsubscribe,
    "DeleteTopic": _delete_topic,
}
"""Every method by its name; what it answers is a serialized reply, or nothing."""


def _reply(name: str, **fields: object) -> bytes:
    serialized: bytes = make_message(name, **fields).SerializeToString()
    return serialized


async def answer(method: Method, desk: Desk, message: bytes) -> Status:
    """Carry out one call; never raises but when it is cancelled."""
    return spell(await answered(method(desk, message)))


def spell(outcome: Outcome) -> Status:
    """An outcome as gRPC says it (spec 2.7)."""
    match outcome:
        case Done(value=value):
            return Status(code="OK", reply=value if isinstance(value, bytes) else b"")
        case DtmFailure(message=message):
            return Status(code="ABORTED", details=with_failure(_cut(message)))
        case DtmOngoing(message=message):
            return Status(code="FAILED_PRECONDITION", details=_cut(message))
        case DtmError(message=message, kind=kind):
            # What a participant ended in is what the caller gets to see; only wait_result speaks of one.
            code = status_in(message) if kind == "error" else ""
            return Status(code=code or _CODES[kind], details=_cut(message))
        case _:
            assert_never(outcome)


def _cut(text: str) -> str:
    return text if len(text) <= DETAILS_MAX else f"{text[:DETAILS_MAX]}... ({len(text)} characters in all)"
