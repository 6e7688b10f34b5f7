"""What the server keeps of a DTM workflow: read when an execution begins, and added to step by step (spec 2.4, 10).

The law of this file: what was written is durable when the call returns, and nothing is written twice.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace

import msgspec

from flowtx.client.answers import Progress, WorkflowRow
from flowtx.client.errors import ServerError
from flowtx.client.exchanges import Exchange
from flowtx.client.operations import Operations
from flowtx.client.options import Options
from flowtx.client.wire import Fields
from flowtx_dsl.errors import WorkflowError


class WorkflowRecord:
    """One workflow's progress; ``options`` are those it was begun with, as far as the server tells."""

    def __init__(self, operations: Operations, gid: str, options: Options) -> None:
        self._operations = operations
        self._gid = gid
        self.options = options
        self._identity = {"gid": gid, "trans_type": "workflow"}
        self._known: dict[tuple[str, str], Progress] = {}

    def begin(self, name: str, data: bytes, callback: str) -> Exchange[WorkflowRow]:
        """Begin the workflow, or learn how far it is."""
        wire = self._operations.wire
        custom = {"name": name, "data": base64.b64encode(data).decode()}
        fields: Fields = {
            **self._identity,
            "protocol": wire.protocol,
            "query_prepared": callback,
            "custom_data": msgspec.json.encode(custom).decode(),
            **self.options.fields(),
        }
        found = yield from wire.prepare_workflow(fields)
        if found.transaction.status not in ("prepared", "succeed", "failed"):
            raise WorkflowError(
                f"gid {self._gid} belongs to a transaction that is {found.transaction.status}, which no workflow is",
                remedy="Give each workflow a gid of its own.",
            )
        self._known = {(each.branch_id, each.op): each for each in found.progresses or ()}
        self.options = _stored_options(found.transaction.options, self.options)
        return found.transaction

    def of(self, branch_id: str, op: str) -> Progress | None:
        """What is recorded of an op of a branch."""
        return self._known.get((branch_id, op))

    def add(self, branch_id: str, op: str, status: str, data: bytes = b"") -> Exchange[None]:
        """Record an op of a branch."""
        # "sync": an acknowledged step that DTM writes later can be lost with it (spec 12.8).
        fields = {"branch_id": branch_id, "op": op, "status": status, "sync": "1"}
        yield from self._operations.wire.register({**self._identity, **fields}, data)

    def end(self, **end: str) -> Exchange[None]:
        """Record how the workflow ended."""
        yield from self._operations.wire.write("submit", {**self._identity, "req_extra": end})


def result_of(row: WorkflowRow, gid: str) -> bytes:
    """The result of a workflow that has succeeded, as JSON; raises ``ServerError`` where the server does not tell."""
    if not row.result:
        raise ServerError(
            f"workflow {gid} has succeeded, and the server does not tell with what result, as DTM over gRPC; "
            "ask it over HTTP",
            status=0,
            body="",
        )
    try:
        return base64.b64decode(row.result, validate=True)
    except binascii.Error as error:
        raise ServerError(
            f"the result of workflow {gid} is no base64: {row.result[:100]!r}", status=200, body=row.result
        ) from error


class _StoredOptions(msgspec.Struct, frozen=True):
    branch_headers: dict[str, str] | None = None
    request_timeout: int | None = None


def _stored_options(text: str, otherwise: Options) -> Options:
    """What the workflow was begun with, because whoever resumes it does not know; as given where the server is
    silent.
    """
    try:
        stored = msgspec.json.decode(text or "{}", type=_StoredOptions)
    except msgspec.MsgspecError:
        return otherwise
    return replace(
        otherwise,
        branch_headers=stored.branch_headers or otherwise.branch_headers,
        request_timeout_s=stored.request_timeout or otherwise.request_timeout_s,
    )
