"""DTM's own Python client, unmodified, from PyPI: it submits sagas to ``flowtx serve`` and sees no difference."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import trio

from tests.compat.dtm import Dtm
from tests.compat.web import Call, Participant, Reply

# The client is synchronous, so it runs in a process of its own.
CLIENT = """
import json, sys
from dtmcli import saga, utils

dtm, participant, wait_result = sys.argv[1:]
gid = utils.gen_gid(dtm)
order = saga.Saga(dtm, gid)
order.add({"amount": 30}, participant + "/TransOut", participant + "/TransOutCompensate")
order.add({"amount": 30}, participant + "/TransIn", participant + "/TransInCompensate")
order.trans_base.wait_result = wait_result == "yes"
try:
    order.submit()
    result = "accepted"
except utils.DTMFailureError as error:
    result = "refused"
print(json.dumps([gid, result]))
"""


async def run_client(dtm: Dtm, participant: Participant, environ: dict[str, str], wait_result: str) -> tuple[str, str]:
    """The gid that the client asked for, and what its submit said."""
    command = [sys.executable, "-c", CLIENT, f"{dtm.url}/api/dtmsvr", participant.url, wait_result]
    done = await trio.run_process(command, env=environ, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout.decode()
    gid, result = json.loads(done.stdout.splitlines()[-1])
    return gid, result


def told(call: Call) -> tuple[str, str, bytes, str]:
    """What a participant learns from a call."""
    return call.method, call.path, call.body, call.query


def expected(gid: str, path: str, branch_id: str, op: str) -> tuple[str, str, bytes, str]:
    return "POST", path, b'{"amount": 30}', f"branch_id={branch_id}&gid={gid}&op={op}&trans_type=saga"


@pytest.mark.parametrize("wait_result", ["yes", "no"])
async def test_a_saga_of_the_python_client_succeeds(
    dtm: Dtm, participant: Participant, environ: dict[str, str], wait_result: str
) -> None:
    gid, result = await run_client(dtm, participant, environ, wait_result)
    assert result == "accepted"
    found = await dtm.until(gid, "succeed")
    assert json.loads(found["options"])["request_timeout"] == 8
    assert [told(call) for call in participant.calls] == [
        expected(gid, "/TransOut", "01", "action"),
        expected(gid, "/TransIn", "02", "action"),
    ]


@pytest.mark.parametrize(("wait_result", "told_client"), [("yes", "refused"), ("no", "accepted")])
async def test_a_refused_saga_of_the_python_client_is_rolled_back(
    dtm: Dtm, participant: Participant, environ: dict[str, str], wait_result: str, told_client: str
) -> None:
    participant.replies("/TransIn", Reply(status=409, body=b'{"dtm_result":"FAILURE"}'))
    gid, result = await run_client(dtm, participant, environ, wait_result)
    assert result == told_client
    await dtm.until(gid, "failed")
    assert [told(call) for call in participant.calls] == [
        expected(gid, "/TransOut", "01", "action"),
        expected(gid, "/TransIn", "02", "action"),
        expected(gid, "/TransInCompensate", "02", "compensate"),
        expected(gid, "/TransOutCompensate", "01", "compensate"),
    ]
    assert await dtm.rows(gid) == "S S S F"
