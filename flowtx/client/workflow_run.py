"""One execution of a DTM workflow: its function is run from the start, and what was recorded is not done again (spec
10).

The law of this file:

* Only what is final is recorded: an action that succeeded or was refused, a rollback or commit that is done. A branch
  that broke, or is ongoing, ends the execution; the server calls back, and another one goes on.
* What the function gets is what was recorded: live results are read back from their JSON, so a replay sees the same.
* A branch's rollback counts from the moment its action is begun, and no more when the action was refused.
"""

from __future__ import annotations

import base64
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from flowtx.client.answers import shorten
from flowtx.client.barrier import Barrier, Ran, Skipped
from flowtx.client.blocks import REASON_LENGTH_MAX
from flowtx.client.branch_calls import BranchCall, BranchResult, call_branch
from flowtx.client.branch_ids import BranchIds
from flowtx.client.errors import BranchFault
from flowtx.client.exchanges import Exchange, perform
from flowtx.client.operations import Operations
from flowtx.client.options import Options, check_gid
from flowtx.client.workflow_record import WorkflowRecord, result_of
from flowtx.client.xa_branch import XaBranch
from flowtx_dsl.codec import Decoder, decoder_of, encode
from flowtx_dsl.errors import Refused, WorkflowError
from flowtx_dsl.signatures import name_of

Action = Callable[[Barrier], object]
Phase2 = Action | str | None
"""What ends a branch: a function that is given its barrier, or a URL that is called with the branch's payload."""
Register = Callable[[object], Exchange[None]]
Prepare = Callable[[XaBranch, Register], object]
"""Runs an xa branch's first phase in the driver's way, awaited where that is async; gives ``Ran`` or ``Skipped``."""


BUSINESS = "business"
"""The op that says of an xa branch that it is about to be prepared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A workflow's function, by name, and the types of its one argument and of its result."""

    name: str
    data: Decoder
    result: Decoder


def define(handler: Callable[..., object], name: str | None) -> Definition:
    """Read a function ``(workflow, data)``; raises ``WorkflowError`` for another shape."""
    named = name or name_of(handler)
    signature = signature_of(handler, f"workflow {named}")
    parameters = list(signature.parameters.values())
    if len(parameters) != 2 or any(each.kind is each.KEYWORD_ONLY for each in parameters):
        raise WorkflowError(
            f"workflow {named} takes {len(parameters)} parameters, expected two: the workflow, and its data",
            remedy="Put what it needs into one dataclass.",
        )
    return Definition(
        name=named,
        data=decoder_of(parameters[1].annotation, what=f"the data of workflow {named}"),
        result=decoder_of(signature.return_annotation, what=f"the result of workflow {named}"),
    )


def signature_of(function: Callable[..., object], what: str) -> inspect.Signature:
    """Its signature with annotations as types; raises ``WorkflowError``."""
    try:
        return inspect.signature(function, eval_str=True)
    except (ValueError, TypeError, NameError, AttributeError) as error:
        raise WorkflowError(
            f"the signature of {what} cannot be read: {error}",
            remedy="Let its annotations name what its module defines.",
        ) from error


@dataclass(slots=True, kw_only=True)
class WorkflowRun:
    """One execution; ``callback`` is the URL where the server has it resumed, ``data`` its argument as JSON."""

    operations: Operations
    definition: Definition
    gid: str
    data: bytes
    callback: str
    options: Options
    table: str | None = None
    _ids: BranchIds = field(default_factory=BranchIds)
    _record: WorkflowRecord = field(init=False)
    _rollbacks: list[tuple[str, Phase2, bytes]] = field(default_factory=list[tuple[str, Phase2, bytes]])
    _commits: list[tuple[str, Phase2, bytes]] = field(default_factory=list[tuple[str, Phase2, bytes]])
    _fault: BaseException | None = None
    _is_over: bool = False

    def __post_init__(self) -> None:
        self._record = WorkflowRecord(self.operations, self.gid, self.options)

    def execute(self, handler: Callable[[object], object]) -> Exchange[object]:
        """Run ``handler(data)`` to the workflow's end, or hand back how it ended before."""
        check_gid(self.gid)
        data = self.definition.data.decode(self.data, what=f"the data of workflow {self.definition.name}")
        self.operations.check_url(self.callback, what=f"the callback of workflow {self.definition.name}")
        row = yield from self._record.begin(self.definition.name, self.data, self.callback)
        if row.status == "succeed":
            return self._result(result_of(row, self.gid))
        if row.status == "failed":
            raise Refused(row.rollback_reason or f"workflow {self.gid} failed")
        try:
            value = yield from perform(lambda: handler(data))
            result = encode(value, what=f"the result of workflow {self.definition.name}")
        except (Refused, BaseExceptionGroup) as error:
            self._is_over = True
            reason = _refusal_in(cast("BaseException", error))
            if reason is None:
                raise
            if self._fault is not None:  # rolled back when the outcome of every branch is known
                raise self._fault from None
            yield from self._finish("rollback", self._rollbacks)
            yield from self._record.end(status="failed", rollback_reason=reason[:REASON_LENGTH_MAX])
            raise
        self._is_over = True
        if self._fault is not None:
            raise self._fault
        yield from self._finish("commit", self._commits)
        yield from self._record.end(status="succeed", result=base64.b64encode(result).decode())
        return self._result(result)

    def do(self, action: Action, *, on_rollback: Phase2, on_commit: Phase2) -> Exchange[object]:
        """A branch that is a function of this process."""
        branch_id = self._begin(b"", on_rollback, on_commit)
        what, decoder = self._result_of(action, branch_id)

        def run() -> Exchange[bytes]:
            barrier = self._barrier(branch_id, "action")
            return encode((yield from perform(lambda: action(barrier))), what=what)

        recorded = yield from self._act(branch_id, run)
        value: object = decoder.decode(recorded, what=what)
        return value

    def do_xa(
        self, business: Callable[..., object], *, prepare: Prepare, finish: Callable[[XaBranch], object]
    ) -> Exchange[object]:
        """A branch that is prepared in a database of this process, and ended there with the workflow."""

        def end(barrier: Barrier) -> object:
            return finish(self._xa_branch(barrier.branch_id, barrier.op))

        branch_id = self._begin(b"", end, end)
        what, decoder = self._result_of(business, branch_id)
        recorded = yield from self._act(branch_id, lambda: self._prepare(branch_id, prepare, what))
        value: object = decoder.decode(recorded, what=what)
        return value

    def _prepare(self, branch_id: str, prepare: Prepare, what: str) -> Exchange[bytes]:
        """The result of an xa branch that is prepared.

        That it is about to be prepared is recorded first, with its result, as the op that DTM's Go client calls
        business. Whoever finds that and no action asks the database whether it was prepared; where it was not,
        business runs again, and counts when its result is the same.
        """
        known = self._record.of(branch_id, BUSINESS)
        data = known.data if known is not None else b""

        def register(value: object) -> Exchange[None]:
            nonlocal data
            found = encode(value, what=what)
            if known is None:
                yield from self._record.add(branch_id, BUSINESS, "succeed", found)
            elif found != data:
                raise Refused(f"{what} was {shorten(data.decode())}, and is {shorten(found.decode())} when repeated")
            data = found

        branch = self._xa_branch(branch_id, "action")
        done = cast("Ran[object] | Skipped", (yield from perform(lambda: prepare(branch, register))))
        if not done and known is None:
            raise WorkflowError(
                f"{branch.xid} is prepared in the database, or was committed, and not by this workflow",
                remedy="Give each workflow a gid of its own.",
            )
        return data

    def call(self, url: str, *, payload: object, on_rollback: Phase2, on_commit: Phase2) -> Exchange[BranchResult]:
        """A branch that is a participant."""
        what = f"a branch of workflow {self.gid}"
        for each in (url, on_rollback, on_commit):
            if isinstance(each, str):
                self.operations.check_url(each, what=what)
        data = self.operations.payload(payload, what=f"payload of {what}")
        branch_id = self._begin(data, on_rollback, on_commit)

        def run() -> Exchange[bytes]:
            result = yield from call_branch(self._branch_call(url, branch_id, "action", data))
            if self.operations.wire.protocol != "grpc":  # where it is recorded as a text
                try:
                    result.body.decode()
                except UnicodeDecodeError as error:
                    raise BranchFault(f"{url} answered with what is no text: {error}", status=200) from error
            return result.body

        return BranchResult(url=url, body=(yield from self._act(branch_id, run)))

    # -- forward

    def _begin(self, payload: bytes, on_rollback: Phase2, on_commit: Phase2) -> str:
        if self._fault is not None:
            raise WorkflowError(
                f"workflow {self.gid} goes on after a branch of unknown outcome",
                remedy="Let the error leave the workflow's function: the server calls it again.",
            ) from self._fault
        if self._is_over:
            raise WorkflowError(f"workflow {self.gid} is over, expected branches only inside its function")
        branch_id = self._ids.new()
        if on_rollback is not None:
            self._rollbacks.append((branch_id, on_rollback, payload))
        if on_commit is not None:
            self._commits.append((branch_id, on_commit, payload))
        return branch_id

    def _act(self, branch_id: str, run: Callable[[], Exchange[bytes]]) -> Exchange[bytes]:
        """The recorded result of a branch's action; it is run where there is none."""
        known = self._record.of(branch_id, "action")
        if known is not None:
            if known.status == "failed":
                self._forget_rollback(branch_id)
                raise Refused(known.data.decode(errors="replace"))
            return known.data
        try:
            try:
                data = yield from run()
            except Refused as refused:
                yield from self._record.add(branch_id, "action", "failed", refused.message.encode())
                self._forget_rollback(branch_id)
                raise
            yield from self._record.add(branch_id, "action", "succeed", data)
        except Refused:
            raise
        except Exception as error:
            self._fault = self._fault or error
            raise
        return data

    def _forget_rollback(self, branch_id: str) -> None:
        self._rollbacks = [each for each in self._rollbacks if each[0] != branch_id]

    # -- the end

    def _finish(self, op: str, ends: list[tuple[str, Phase2, bytes]]) -> Exchange[None]:
        """The second phase, the last branch first."""
        for branch_id, end, payload in reversed(ends):
            if self._record.of(branch_id, op) is not None:
                continue
            try:
                if isinstance(end, str):
                    yield from call_branch(self._branch_call(end, branch_id, op, payload))
                elif end is not None:
                    barrier, function = self._barrier(branch_id, op), end
                    yield from perform(lambda: function(barrier))  # noqa: B023 - it is run before the loop goes on
            except Refused as error:
                raise WorkflowError(
                    f"the {op} of branch {branch_id} of workflow {self.gid} was refused: {error.message}",
                    remedy="Let it succeed in the end; the server calls until it does.",
                ) from error
            yield from self._record.add(branch_id, op, "succeed")

    def _result(self, data: bytes) -> object:
        value: object = self.definition.result.decode(data, what=f"the result of workflow {self.definition.name}")
        return value

    def _barrier(self, branch_id: str, op: str) -> Barrier:
        return Barrier(gid=self.gid, branch_id=branch_id, op=op, trans_type="workflow", table=self.table)

    def _xa_branch(self, branch_id: str, op: str) -> XaBranch:
        return XaBranch(gid=self.gid, branch_id=branch_id, op=op, phase2_url=self.callback, table=self.table)

    def _result_of(self, function: Callable[..., object], branch_id: str) -> tuple[str, Decoder]:
        """What a branch's result is called, and how it is read."""
        name = name_of(function)
        decoder = decoder_of(signature_of(function, name).return_annotation, what=f"the result of {name}")
        return f"the result of {name}, branch {branch_id} of workflow {self.gid}", decoder

    def _branch_call(self, url: str, branch_id: str, op: str, payload: bytes) -> BranchCall:
        return BranchCall(
            url=url,
            protocol=self.operations.wire.protocol,
            gid=self.gid,
            trans_type="workflow",
            branch_id=branch_id,
            op=op,
            parameters=(("dtm", self.operations.wire.address),),
            body=payload,
            headers=tuple(self._record.options.branch_headers.items()),
            timeout_s=self._record.options.request_timeout_s or self.operations.timeout_s,
        )


def _refusal_in(error: BaseException) -> str | None:
    """Why a workflow is rolled back: the text of a refusal, or of a group of nothing else; None for other errors."""
    if isinstance(error, BaseExceptionGroup):
        members = cast("BaseExceptionGroup[BaseException]", error).exceptions
        reasons = [_refusal_in(each) for each in members]
        return None if None in reasons else "; ".join(str(reason) for reason in reasons)
    return (error.message or "refused") if isinstance(error, Refused) else None
