"""What the compatibility tests send: transactions of every pattern, as clients write them."""

from __future__ import annotations

import itertools
import json
import os
from typing import Any

from tests.compat.web import Participant

_numbers = itertools.count(1)
_run = os.urandom(4).hex()


def new_gid() -> str:
    """A gid no other test has, and no other run of the tests."""
    return f"gid-{_run}-{next(_numbers)}"


def payload_of(path: str) -> str:
    """The payload of the step that calls a path."""
    return json.dumps({"step": path})


def saga(participant: Participant, *actions: str, **more: object) -> dict[str, Any]:
    """A saga whose step ``/a`` is taken back by ``/a-undo``, with the payload ``{"step": "/a"}``."""
    steps = [{"action": participant.url + path, "compensate": f"{participant.url}{path}-undo"} for path in actions]
    payloads = [payload_of(path) for path in actions]
    return {"gid": new_gid(), "trans_type": "saga", "steps": steps, "payloads": payloads, **more}


def concurrent(orders: dict[str, list[int]] | None = None) -> str:
    """The custom_data of a saga whose steps run in parallel, but for those that wait for others."""
    return json.dumps({"orders": orders or {}, "concurrent": True})


def msg(participant: Participant, *actions: str, **more: object) -> dict[str, Any]:
    """A message to these paths, whose query-prepared is ``/prepared``."""
    return {
        "gid": new_gid(),
        "trans_type": "msg",
        "steps": [{"action": participant.url + path} for path in actions],
        "payloads": [payload_of(path) for path in actions],
        "query_prepared": f"{participant.url}/prepared",
        **more,
    }


def tcc_branch(participant: Participant, gid: str, branch_id: str, path: str) -> dict[str, str]:
    """A tcc branch whose ``/a`` is confirmed by ``/a-confirm`` and cancelled by ``/a-cancel``."""
    return {
        "gid": gid,
        "trans_type": "tcc",
        "branch_id": branch_id,
        "data": payload_of(path),
        "confirm": f"{participant.url}{path}-confirm",
        "cancel": f"{participant.url}{path}-cancel",
    }


def xa_branch(participant: Participant, gid: str, branch_id: str, path: str) -> dict[str, str]:
    """An xa branch whose second phase is ``/a``."""
    return {"gid": gid, "trans_type": "xa", "branch_id": branch_id, "url": participant.url + path}


def workflow(participant: Participant, name: str, data: str = "", **more: object) -> dict[str, Any]:
    """A workflow that is called back at ``/resume``; ``data`` is in base 64, as clients write it."""
    return {
        "gid": new_gid(),
        "trans_type": "workflow",
        "query_prepared": f"{participant.url}/resume",
        "custom_data": json.dumps({"name": name, "data": data}),
        "protocol": "http",
        **more,
    }


def workflow_step(gid: str, branch_id: str, op: str, status: str, data: str = "") -> dict[str, str]:
    """What became of a step of a workflow."""
    return {
        "gid": gid,
        "trans_type": "workflow",
        "branch_id": branch_id,
        "op": op,
        "status": status,
        "data": data,
        "sync": "y",
    }


def workflow_end(gid: str, status: str, result: str = "", reason: str = "") -> dict[str, Any]:
    """How a workflow ended; ``result`` is in base 64."""
    return {
        "gid": gid,
        "trans_type": "workflow",
        "req_extra": {"status": status, "result": result, "rollback_reason": reason},
    }
