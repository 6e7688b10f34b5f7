"""A real server on a database that fails: clear answers, nothing half stored, and it goes on when the database does."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import trio

from flowtx_engine.calls.http import HttpClient
from flowtx_engine.calls.http_types import HttpRequest

RunServer = Callable[..., AbstractAsyncContextManager[tuple[trio.Process, str]]]
FULL_AT_BLOCKS = 2_000
"""The largest file the server may write, in blocks of 512 bytes: room for its tables and some transactions."""


async def submit(client: HttpClient, url: str, gid: str, payload: str = "{}") -> tuple[int, dict[str, str]]:
    """Submit a saga whose only step has nobody to call; status and answer."""
    step = {"action": "", "compensate": ""}
    body = {"gid": gid, "trans_type": "saga", "steps": [step], "payloads": [payload], "wait_result": True}
    request = HttpRequest(method="POST", url=f"{url}/api/dtmsvr/submit", body=json.dumps(body).encode())
    with trio.fail_after(60):
        response = await client.send(request)
    answer: dict[str, str] = json.loads(response.body)
    return response.status, answer


async def query(client: HttpClient, url: str, gid: str) -> dict[str, object]:
    """A transaction as the server shows it; empty when it has none."""
    response = await client.send(HttpRequest(method="GET", url=f"{url}/api/dtmsvr/query?gid={gid}"))
    assert response.status == 200, response
    transaction: dict[str, object] | None = json.loads(response.body)["transaction"]
    return transaction or {}


def check_answer_of_a_bad_database(status: int, answer: dict[str, str]) -> None:
    """Spec 2.2: an error is 500 with a message; ours speaks of the database and shows no SQL."""
    assert status == 500
    assert answer.keys() == {"message"}
    assert "database" in answer["message"]
    assert "SELECT" not in answer["message"]
    assert "INSERT" not in answer["message"]


async def test_a_locked_database_is_said_to_be_away_and_works_again_afterwards(
    tmp_path: Path, run_server: RunServer
) -> None:
    db = tmp_path / "locked.db"
    async with run_server(db, tmp_path / "log") as (_, url), HttpClient() as client:
        assert (await submit(client, url, "before"))[0] == 200
        with closing(sqlite3.connect(db)) as other:
            other.execute("BEGIN IMMEDIATE")
            check_answer_of_a_bad_database(*await submit(client, url, "during"))
            assert (await query(client, url, "before"))["status"] == "succeed", "reading goes on"
            other.rollback()
        assert (await submit(client, url, "during"))[0] == 200
        assert (await query(client, url, "during"))["status"] == "succeed"


async def test_a_full_disk_refuses_work_and_loses_nothing(tmp_path: Path, run_server: RunServer) -> None:
    db, log = tmp_path / "full.db", tmp_path / "log"
    stored: list[str] = []
    async with (
        run_server(db, log, shell_before=f"ulimit -f {FULL_AT_BLOCKS}; ") as (process, url),
        HttpClient() as client,
    ):
        for i in range(100):
            status, answer = await submit(client, url, f"f-{i}", json.dumps("x" * 50_000))
            if status == 500:
                check_answer_of_a_bad_database(status, answer)
                break
            assert status in (200, 409), "409 says: taken, but not at its end yet (spec 4.8)"
            stored.append(f"f-{i}")
        else:
            raise AssertionError("the disk never got full")
        assert stored
        assert process.returncode is None, "a full disk does not end the server"
        assert (await query(client, url, stored[0]))["status"] == "succeed"
    async with run_server(db, log) as (_, url), HttpClient() as client:
        refused = f"f-{len(stored)}"
        assert (await submit(client, url, refused))[0] in (200, 409)
        for gid in [*stored, refused]:
            await succeeded(client, url, gid)


async def succeeded(client: HttpClient, url: str, gid: str) -> None:
    """Wait until a transaction has succeeded: recovery takes a lease's time."""
    with trio.fail_after(30):
        while True:
            if (await query(client, url, gid))["status"] == "succeed":
                return
            await trio.sleep(0.1)
