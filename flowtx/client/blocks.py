"""A tcc or an xa transaction as a block of code: prepared at its start, submitted or aborted at its end (spec 10).

The law of this file: whatever leaves the block aborts the transaction, a cancellation and Ctrl-C included, and goes on
to the caller. A branch is known to the server before its participant is called, so nothing that was tried can be
forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping

from flowtx.client.branch_calls import BranchCall, BranchResult, call_branch
from flowtx.client.branch_ids import BranchIds
from flowtx.client.errors import ClientError, ServerUnreachable
from flowtx.client.exchanges import Exchange
from flowtx.client.operations import Operations
from flowtx.client.options import Options, check_gid
from flowtx.client.wire import Fields
from flowtx_dsl.errors import FlowtxError, WorkflowError

REASON_LENGTH_MAX = 1000
"""How many characters of an error are given as the reason: DTM's SQL tables hold 1,024."""


class Block:
    """What tcc and xa share. Without a ``gid`` the server gives one when the block begins.

    ``parent`` is a branch of somebody else's transaction, to which branches are added: beginning and ending it is
    theirs.
    """

    trans_type = ""

    def __init__(self, operations: Operations, gid: str | None, options: Options | None, *, parent: str = "") -> None:
        if gid is not None:
            check_gid(gid)
        self.gid = gid or ""
        self.options = options or Options()
        self._operations = operations
        self._ids = BranchIds(parent)
        self._is_joined = self._is_open = bool(parent)

    def begin(self) -> Exchange[None]:
        """Prepare the transaction."""
        if self._is_joined:
            return
        if not self.gid:
            self.gid = yield from self._operations.wire.new_gid()
        yield from self._operations.wire.write("prepare", self._fields())
        self._is_open = True

    def end(self, error: BaseException | None) -> Exchange[None]:
        """Submit it; after an error, abort it."""
        if self._is_joined:
            return
        self._is_open = False
        if error is None:
            yield from self._submit()
        else:
            yield from self._abort(error)

    def _abort(self, error: BaseException) -> Exchange[None]:
        try:
            yield from self._operations.last_word("abort", self._fields(rollback_reason=_reason(error)))
        except ClientError as also:
            error.add_note(
                f"{self.trans_type} {self.gid} could not be aborted, and is aborted by the server when its time is up: "
                f"{also.message}"
            )

    def _submit(self) -> Exchange[None]:
        try:
            timeout_s = self._operations.submit_timeout_s(self.options)
            yield from self._operations.wire.write("submit", self._fields(), timeout_s=timeout_s)
        except ServerUnreachable as error:
            # Not to be repeated: DTM takes a repeated submit of these for the end of all confirms (spec 12.1).
            error.remedy = "Query the gid: where the submit was lost, the server aborts when the time is up."
            raise

    def _fields(self, **more: object) -> Fields:
        return {"gid": self.gid, "trans_type": self.trans_type, **self.options.fields(), **more}

    def _next_id(self) -> str:
        if not self._is_open:
            raise WorkflowError(
                f"{self.trans_type} {self.gid} is called outside its block, where no branch can join it any more",
                remedy=f"Call branches inside the with block of {self.trans_type}().",
            )
        return self._ids.new()

    def _call(self, branch_id: str, op: str, url: str, payload: bytes, **parameters: str) -> Exchange[BranchResult]:
        timeout_s = self.options.request_timeout_s or self._operations.timeout_s
        return call_branch(
            BranchCall(
                url=url,
                protocol=self._operations.wire.protocol,
                gid=self.gid,
                trans_type=self.trans_type,
                branch_id=branch_id,
                op=op,
                parameters=(("dtm", self._operations.wire.address), *parameters.items()),
                body=payload,
                headers=tuple(self.options.branch_headers.items()),
                timeout_s=timeout_s,
            )
        )


class TccBlock(Block):
    """A tcc: each branch is tried here; the server confirms all, or cancels all."""

    trans_type = "tcc"

    def call_branch(self, *, try_: str, confirm: str, cancel: str, payload: object) -> Exchange[BranchResult]:
        """Register a branch, then try it."""
        branch_id = self._next_id()
        what = f"branch {branch_id} of tcc {self.gid}"
        for url in (try_, confirm, cancel):
            if url:
                self._operations.check_url(url, what=what)
        data = self._operations.payload(payload, what=f"payload of {what}")
        own = {"gid": self.gid, "trans_type": self.trans_type, "branch_id": branch_id}
        yield from self._operations.wire.register({**own, "confirm": confirm, "cancel": cancel}, data)
        return (yield from self._call(branch_id, "try", try_, data))


class XaBlock(Block):
    """An xa transaction: each participant prepares in its database; the server lets all commit, or all roll back."""

    trans_type = "xa"

    def call_branch(self, *, url: str, payload: object, phase2_url: str) -> Exchange[BranchResult]:
        """Call a participant, which registers itself before it prepares."""
        branch_id = self._next_id()
        what = f"branch {branch_id} of xa {self.gid}"
        for each in (url, phase2_url or url):
            self._operations.check_url(each, what=what)
        data = self._operations.payload(payload, what=f"payload of {what}")
        return (yield from self._call(branch_id, "action", url, data, phase2_url=phase2_url or url))


def parent_of(query: Mapping[str, str], trans_type: str) -> tuple[str, str]:
    """The gid and branch id of a request whose participant calls further branches; raises ``WorkflowError``."""
    found = query.get("trans_type")
    if found != trans_type or not query.get("gid") or not query.get("branch_id"):
        raise WorkflowError(
            f"the request is of a {found or 'missing'} transaction, gid {query.get('gid')!r}, branch "
            f"{query.get('branch_id')!r}; expected a {trans_type} with both",
            remedy="Pass the query of the URL that this participant was called with.",
        )
    return query["gid"], query["branch_id"]


def _reason(error: BaseException) -> str:
    said = error.message if isinstance(error, FlowtxError) else str(error)
    return (said or type(error).__name__)[:REASON_LENGTH_MAX]
