"""Metrics: DTM's names and labels, numbers that add up, and labels that do not grow with the work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

import flowtx
from flowtx.dtm.routes import ROUTES, api_of
from flowtx.observers.metrics import Metrics
from flowtx.observers.tally import BOUNDS, Durations, Tally, branch_of
from flowtx_dsl.commands import Step
from flowtx_dsl.targets import HttpTarget
from flowtx_engine.calls.attempt import Attempt

PAGE = Path(__file__).parents[3] / "docs/reference/metrics.md"

DTM = {
    "dtm_server_info": {"gin_version", "grpc_version"},
    "dtm_server_process": {"type", "api", "status"},
    "dtm_server_response_duration": {"type", "api"},
    "dtm_transaction_process": {"model", "status"},
    "dtm_transaction_handled_duration": {"model"},
    "dtm_branch_process": {"model", "branchid", "branchtype", "status"},
}


def fine() -> None:
    pass


def broken() -> None:
    raise RuntimeError("down")


@flowtx.workflow
async def half(tx: flowtx.Tx) -> None:
    await tx.step(fine, compensate=fine)
    await tx.step(broken, retry=flowtx.Retry(attempts_max=1))


@pytest.fixture
async def metrics() -> dict[str, Metric]:
    """What is published after one transaction that failed, and two requests."""
    async with flowtx.open("memory://") as engine:
        tally = Tally(started_at=engine.now_at())
        engine.observers.add(tally)
        with pytest.raises(flowtx.TransactionFailed):
            await engine.run(half, gid="g-very-own")
    tally.served("http", "submit", 200, 0.02)
    tally.served("http", "submit", 409, 20.0)
    text = Metrics(tally, engine.statistics, alerts={"sent": 2}).text().decode()
    assert "g-very-own" not in text
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(metrics: dict[str, Metric], sample: str, **labels: str) -> float:
    found = [
        each.value
        for family in metrics.values()
        for each in family.samples
        if each.name == sample and each.labels == labels
    ]
    assert len(found) == 1, f"{sample} {labels}: {found}"
    return found[0]


async def test_dtms_metrics_have_dtms_labels(metrics: dict[str, Metric]) -> None:
    for name, labels in DTM.items():
        assert metrics[name].samples, name
        for sample in metrics[name].samples:
            assert set(sample.labels) - {"le"} == labels, sample


async def test_requests_rounds_and_calls_are_counted(metrics: dict[str, Metric]) -> None:
    assert value(metrics, "dtm_server_process_total", type="http", api="submit", status="ok") == 1
    assert value(metrics, "dtm_server_process_total", type="http", api="submit", status="fail") == 1
    assert value(metrics, "dtm_server_response_duration_bucket", type="http", api="submit", le="0.01") == 0
    assert value(metrics, "dtm_server_response_duration_bucket", type="http", api="submit", le="0.025") == 1
    assert value(metrics, "dtm_server_response_duration_bucket", type="http", api="submit", le="10.0") == 1
    assert value(metrics, "dtm_server_response_duration_count", type="http", api="submit") == 2
    assert value(metrics, "dtm_transaction_process_total", model="workflow", status="fail") == 1
    assert value(metrics, "dtm_transaction_handled_duration_count", model="workflow") == 1
    branch = {"model": "workflow", "branchid": ""}
    assert value(metrics, "dtm_branch_process_total", branchtype="action", status="ok", **branch) == 1
    assert value(metrics, "dtm_branch_process_total", branchtype="action", status="fail", **branch) == 1
    assert value(metrics, "flowtx_calls_total", kind="function", outcome="succeeded") >= 2
    assert value(metrics, "flowtx_calls_total", kind="function", outcome="unknown") == 1
    assert value(metrics, "flowtx_transactions_driven_total") == 1
    assert value(metrics, "flowtx_transactions_recovered_total") == 0
    assert value(metrics, "flowtx_journal_commits_total") >= 4
    assert value(metrics, "flowtx_journal_pending") == 0
    assert value(metrics, "flowtx_alerts_total", outcome="sent") == 2


async def test_every_metric_stands_in_the_reference_and_no_other_does(metrics: dict[str, Metric]) -> None:
    ours = {
        name + ("_total" if family.type == "counter" else "")
        for name, family in metrics.items()
        if name.startswith(("dtm_", "flowtx_"))
    }
    assert set(re.findall(r"^\| `((?:dtm|flowtx)_\w+)`", PAGE.read_text(), re.MULTILINE)) == ours


@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_histogram_counts_each_once_in_the_first_bucket_that_fits(seconds: list[float]) -> None:
    durations = Durations()
    for each in seconds:
        durations.add(each)
    assert sum(durations.counts) == len(seconds)
    for index, bound in enumerate(BOUNDS):
        assert sum(durations.counts[: index + 1]) == sum(each <= bound for each in seconds)


@given(st.text())
def test_no_path_makes_a_label_of_its_own(path: str) -> None:
    known = {"other", "ping", "metrics", "json-rpc", "topic"} | {each.rpartition("/")[2].lower() for _, each in ROUTES}
    assert api_of(path) in known
    assert api_of(f"/api/dtmsvr/topic/{path.replace('/', '')}") in known
    assert api_of("/api/dtmsvr/newGid") == "newgid"


@given(st.integers(0, 10_000))
def test_branches_by_the_thousand_share_a_label(number: int) -> None:
    branch = f"{number:02d}"
    command = Step(call=HttpTarget(url="http://a", branch_id=branch).call(()), where="", retry=flowtx.Retry())
    label = branch_of(Attempt(gid="g", address="0", number=1, command=command))
    assert label == (branch if number <= 16 else "other")
