"""Metrics as scrapers of DTM know them: check 4 (spec 8.2)."""

from __future__ import annotations

import re

from tests.compat.dtm import Dtm
from tests.compat.orders import saga
from tests.compat.web import Participant


async def test_004_metrics_are_served_under_dtms_names(dtm: Dtm, participant: Participant) -> None:
    assert (await dtm.post("submit", saga(participant, "/a", wait_result=True))).status == 200
    answer = await dtm.ask("GET", "/api/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.body.decode()
    assert re.search(r"^dtm_server_info\{.*grpc_version=.*\} 1(\.0)?$", text, re.MULTILINE)
    for name, kind in (
        ("dtm_server_process_total", "counter"),
        ("dtm_server_response_duration", "histogram"),
        ("dtm_transaction_process_total", "counter"),
        ("dtm_transaction_handled_duration", "histogram"),
        ("dtm_branch_process_total", "counter"),
    ):
        assert f"# TYPE {name} {kind}" in text
    assert re.search(r'^dtm_transaction_process_total\{model="saga",status="ok"\} ', text, re.MULTILINE)
