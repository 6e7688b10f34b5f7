"""Rows and orders as tests of what is shown need them: complete, and a test says only what matters to it."""

from __future__ import annotations

from typing import Any

import msgspec

from flowtx_dsl.patterns.saga import SagaOrder, SagaStep
from flowtx_engine.journal.records import Transaction

SAGA_OF_TWO = SagaOrder(
    steps=tuple(
        SagaStep(branch_id=f"0{i}", action=f"http://p/do{i}", compensate=f"http://p/undo{i}", payload=b"{}")
        for i in (1, 2)
    ),
    request_timeout_s=3.0,
    retry_interval_s=10.0,
)
_ROW = Transaction(
    id=1,
    gid="t-1",
    pattern="workflow",
    workflow="transfer",
    version="1",
    status="submitted",
    owner="",
    wake_at=None,
    attempt_count=0,
    last_error="",
    input=b"[]",
    options=b"{}",
    result=None,
    reason="",
    created_at=0.0,
    updated_at=0.0,
    finished_at=None,
    nudged_at=None,
)


def transaction_row(**fields: Any) -> Transaction:
    """A submitted run of a workflow, with these fields changed."""
    return msgspec.structs.replace(_ROW, **fields)
