"""How tests of operations ask: requests of every pattern, and short ways to see what became of them."""

from __future__ import annotations

import base64
import json

import msgspec

from flowtx.dtm.operations.branches import register_branch
from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.operations.look import query
from flowtx.dtm.operations.prepare import prepare
from flowtx.dtm.operations.workflows import prepare_workflow
from flowtx.dtm.outcomes import Done
from flowtx.dtm.wire.requests import BranchRequest, TransactionRequest
from flowtx.dtm.wire.views import QueryView, TransactionView, WorkflowView
from flowtx.testing.participants import Participants


def request(trans_type: str, *paths: str, **changes: object) -> TransactionRequest:
    usual = TransactionRequest(
        gid="g",
        trans_type=trans_type,
        steps=tuple({"action": path if "://" in path else f"http://p{path}"} for path in paths),
        payloads=(b"{}",) * len(paths),
        query_prepared="http://p/query" if trans_type in ("msg", "workflow") else "",
    )
    return msgspec.structs.replace(usual, **changes)


def tcc_branch(branch_id: str, **changes: str) -> BranchRequest:
    usual = BranchRequest(
        gid="g",
        branch_id=branch_id,
        trans_type="tcc",
        data=b"{}",
        confirm=f"http://p/confirm{branch_id}",
        cancel=f"http://p/cancel{branch_id}",
    )
    return msgspec.structs.replace(usual, **changes)


def xa_branch(branch_id: str) -> BranchRequest:
    return BranchRequest(gid="g", branch_id=branch_id, trans_type="xa", url=f"http://p/xa{branch_id}")


async def looked(desk: Desk, gid: str = "g") -> QueryView:
    outcome = await query(desk, gid)
    assert isinstance(outcome, Done)
    assert isinstance(outcome.value, QueryView)
    return outcome.value


async def transaction(desk: Desk, gid: str = "g") -> TransactionView:
    view = (await looked(desk, gid)).transaction
    assert view is not None
    return view


async def status(desk: Desk, gid: str = "g") -> str:
    return (await transaction(desk, gid)).status


async def rows(desk: Desk, gid: str = "g") -> str:
    return " ".join(view.status[0].upper() for view in (await looked(desk, gid)).branches)


def called(participants: Participants) -> list[str]:
    return [asked.url.removeprefix("http://p/") for asked in participants.asked]


async def begun_tcc(desk: Desk, *branch_ids: str, **changes: object) -> None:
    assert await prepare(desk, request("tcc", **changes)) == Done()
    for branch_id in branch_ids:
        assert await register_branch(desk, tcc_branch(branch_id)) == Done()


def progress(branch_id: str, op: str = "action", status: str = "succeed", data: bytes = b"r") -> BranchRequest:
    return BranchRequest(gid="g", branch_id=branch_id, trans_type="workflow", op=op, status=status, data=data)


def custom(name: str = "transfer", data: bytes | None = b"input") -> str:
    return json.dumps({"name": name, "data": None if data is None else base64.b64encode(data).decode()})


async def prepared(desk: Desk, **changes: object) -> WorkflowView:
    outcome = await prepare_workflow(desk, request("workflow", custom_data=custom(), **changes))
    assert isinstance(outcome, Done)
    assert isinstance(outcome.value, WorkflowView)
    return outcome.value


def ended(**extra: str) -> TransactionRequest:
    return request("workflow", req_extra=extra)
