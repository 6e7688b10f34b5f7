"""Workflows of DTM's own Go client, resumed where they were interrupted.

Each test runs a transaction in a bank written with that client (``tests/interop/go``) and looks at three things: what
the client was told, which calls its participants got, and what the server says became of it.
"""

from __future__ import annotations

import pytest
import trio

from tests.compat.dtm import Dtm
from tests.compat.orders import new_gid
from tests.compat.web import ANSWER_MAX_S
from tests.interop.bank import Bank, Database

pytestmark = pytest.mark.timeout(600)  # the first test builds the bank


@pytest.mark.parametrize("scenario", ["workflow", "workflow-grpc"])
async def test_156_a_workflow_returns_its_result_every_time(bank: Bank, dtm: Dtm, scenario: str) -> None:
    gid = new_gid()
    ran = await bank.run(scenario, gid)
    assert (ran.value, ran.error) == ('noted, {"value":"done credit"}', "")
    await dtm.until(gid, "succeed")
    calls = await bank.calls(gid)
    assert calls == ["local 01 action", "debit 02 action", "credit 03 action"]
    # DTM tells the result to HTTP clients only (spec 12.10); here gRPC clients get it too.
    assert await bank.run(scenario, gid) == ran
    assert await bank.calls(gid) == calls


async def test_a_refused_workflow_is_rolled_back(bank: Bank, dtm: Dtm) -> None:
    gid = new_gid()
    assert "FAILURE" in (await bank.run("workflow", gid, answer="refuse")).error
    found = await dtm.until(gid, "failed")
    assert (await bank.calls(gid))[2:] == ["credit 03 action", "debit-back 02 rollback"]
    assert "no money" in found["rollback_reason"]


async def resumed(dtm: Dtm, gid: str, status: str) -> None:
    """Wait for the end, asking for the callback at once instead of after its interval."""
    with trio.fail_after(ANSWER_MAX_S):
        while (await dtm.transaction(gid))["status"] != status:
            if dtm.control:
                await dtm.control.visit(due_in_s=30)
            else:
                await dtm.post("resetNextCronTime", {"gid": gid})
            await trio.sleep(0.5)


@pytest.mark.parametrize("scenario", ["workflow", "workflow-grpc"])
async def test_154_a_workflow_goes_on_where_it_was_interrupted(bank: Bank, dtm: Dtm, scenario: str) -> None:
    gid = new_gid()
    assert (await bank.run(scenario, gid, answer="ongoing-once")).error
    assert (await dtm.transaction(gid))["status"] == "prepared"
    await resumed(dtm, gid, "succeed")
    calls = await bank.calls(gid)
    assert calls.count("local 01 action") == calls.count("debit 02 action") == 1
    assert calls.count("credit 03 action") == 2


async def test_155_a_rollback_goes_on_where_it_was_interrupted(bank: Bank, dtm: Dtm) -> None:
    gid = new_gid()
    assert (await bank.run("workflow", gid, answer="refuse", back="fail-once")).error
    assert (await dtm.transaction(gid))["status"] == "prepared"
    await resumed(dtm, gid, "failed")
    calls = await bank.calls(gid)
    assert calls.count("credit 03 action") == 1
    assert calls.count("debit-back 02 rollback") == 2


@pytest.mark.parametrize(("answer", "status"), [("ongoing-once", "succeed"), ("refuse", "failed")])
async def test_157_xa_steps_of_a_workflow_end_once(
    bank: Bank, dtm: Dtm, databases: dict[str, Database], store: str, answer: str, status: str
) -> None:
    gid = new_gid()
    assert (await bank.run("workflow-xa", gid, database=store, answer=answer)).error
    await resumed(dtm, gid, status)
    assert await databases[store].accounts(gid) == ({"xa": [-30, 30]} if status == "succeed" else {})
