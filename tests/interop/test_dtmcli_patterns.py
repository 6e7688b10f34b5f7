"""DTM's own Python client, unmodified, from PyPI: tcc, and two-phase messages with its barrier on MariaDB."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import trio

from tests.compat.dtm import Dtm
from tests.compat.web import Participant, Reply
from tests.interop.bank import Database, need

REFUSES = Reply(status=409, body=b'{"dtm_result":"FAILURE"}')

TCC = """
import json, sys
from dtmcli import tcc, utils

dtm, participant = sys.argv[1:]
gid = utils.gen_gid(dtm)

def tried(t):
    for name in ("out", "in"):
        urls = [f"{participant}/{op}-{name}" for op in ("try", "confirm", "cancel")]
        t.call_branch({"amount": 30}, *urls)

print(json.dumps([gid, tcc.tcc_global_transaction(dtm, gid, tried)]))
"""

# Its barrier takes a cursor, and writes MySQL's SQL.
MSG = """
import json, sys
import pymysql
from dtmcli import barrier, msg, utils

dtm, participant, how, conf = sys.argv[1:]
connection = pymysql.connect(**json.loads(conf))
gid = utils.gen_gid(dtm)

def business(cursor):
    if how == "refuse":
        raise utils.DTMFailureError("no money")
    cursor.execute("insert into interop_accounts(gid, account, amount) values(%s, 'sender', -30)", (gid,))

def asked_first(bb):
    try:
        barrier.BranchBarrier("msg", gid, "00", "msg").query_prepared(connection.cursor())
    except utils.DTMFailureError:
        pass
    bb.call(connection.cursor(), business)

message = msg.Msg(dtm, gid).add({"amount": 30}, participant + "/in")
try:
    if how == "late":
        message.do_and_submit(participant + "/asked", asked_first)
    else:
        message.do_and_submit_db(participant + "/asked", connection.cursor(), business)
    result = "sent"
except Exception as error:
    result = str(error)
print(json.dumps([gid, result]))
"""


async def run(environ: dict[str, str], program: str, *words: str) -> tuple[str, str]:
    """What a client program printed last: its gid, and what came of it."""
    command = [sys.executable, "-c", program, *words]
    done = await trio.run_process(command, env=environ, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout.decode()
    gid, result = json.loads(next(line for line in reversed(done.stdout.splitlines()) if line.startswith(b"[")))
    return gid, result


async def test_115_a_tcc_of_the_python_client_is_confirmed(
    dtm: Dtm, participant: Participant, environ: dict[str, str]
) -> None:
    gid, result = await run(environ, TCC, f"{dtm.url}/api/dtmsvr", participant.url)
    assert result == gid
    await dtm.until(gid, "succeed")
    assert participant.paths == ["/try-out", "/try-in", "/confirm-in", "/confirm-out"]
    assert [call.body for call in participant.calls] == [b'{"amount": 30}'] * 4
    assert await dtm.rows(gid) == "P S P S"


async def test_116_a_refused_tcc_of_the_python_client_is_cancelled(
    dtm: Dtm, participant: Participant, environ: dict[str, str]
) -> None:
    participant.replies("/try-in", REFUSES)
    gid, result = await run(environ, TCC, f"{dtm.url}/api/dtmsvr", participant.url)
    assert result == ""
    await dtm.until(gid, "failed")
    assert participant.paths == ["/try-out", "/try-in", "/cancel-in", "/cancel-out"]


@pytest.mark.parametrize(
    ("how", "result", "status", "accounts"),
    [
        ("send", "sent", "succeed", {"sender": [-30]}),
        ("refuse", "no money", "failed", {}),
        ("late", "msg duplicate error", "failed", {}),
    ],
)
async def test_077_078_a_message_of_the_python_client_follows_its_local_transaction(
    dtm: Dtm,
    participant: Participant,
    environ: dict[str, str],
    databases: dict[str, Database],
    how: str,
    result: str,
    status: str,
    accounts: dict[str, list[int]],
) -> None:
    need(databases, "mysql")
    participant.replies("/asked", REFUSES)
    conf = databases["mysql"].conf
    keys = {"host": "Host", "port": "Port", "user": "User", "password": "Password", "database": "Db"}
    connected = json.dumps({name: conf[key] for name, key in keys.items()})
    gid, told = await run(environ, MSG, f"{dtm.url}/api/dtmsvr", participant.url, how, connected)
    assert told == result
    await dtm.until(gid, status)
    assert await databases["mysql"].accounts(gid) == accounts
    assert participant.paths.count("/in") == (1 if status == "succeed" else 0)
