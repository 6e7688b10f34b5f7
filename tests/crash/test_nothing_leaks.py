"""Every operation over every transport, on a database that fails: our own words, nothing of the inside, and well again.

The law of this file: an answer is what it would be on a good database, or one of two sentences. Clients take its status
for "try again", and the log says what a person needs.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sqlite3
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.compat.dtm import API, Dtm
from tests.compat.grpc_side import GrpcDtm, branch_request_of, messages, request_of
from tests.compat.inside import INSIDE
from tests.compat.orders import new_gid
from tests.compat.server import running_server

AWAY = "the database of the transaction manager is not available; repeat the request later"
REFUSED = "the database of the transaction manager refused the request; its log says why"
DRIVERS = re.compile(r"locked|disk|malformed|readonly|read-only|unable to|no such table|constraint|\[Errno|/tmp", re.I)
"""Words of SQLite's and the system's."""
WELL_MAX_S = 60

Bad = Callable[[Path, int], Any]
"""Makes the database at a path bad for the server of this process id, until the block is left."""


@contextmanager
def gone(db: Path, pid: int) -> Generator[None]:
    """Moved away, as by somebody who cleans up, and put back."""
    away = db.with_name("away.db")
    db.rename(away)
    yield
    away.rename(db)


@contextmanager
def replaced(db: Path, pid: int) -> Generator[None]:
    """Another file is there under its name."""
    away = db.with_name("away.db")
    db.rename(away)
    db.write_bytes(b"Dear diary, " * 1000)
    yield
    away.rename(db)


@contextmanager
def locked(db: Path, pid: int) -> Generator[None]:
    """Another process keeps a write transaction open."""
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full(db: Path, pid: int) -> Generator[None]:
    """No file of the server may grow."""
    wal = db.with_name(f"{db.name}-wal")
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (min(db.stat().st_size, wal.stat().st_size), before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def without_tables(db: Path, pid: int) -> Generator[None]:
    """Somebody has renamed the tables, and names them rightly again."""
    tables = ("flowtx_transactions", "flowtx_journal", "flowtx_kv")
    rename(db, [(table, f"{table}_old") for table in tables])
    yield
    rename(db, [(f"{table}_old", table) for table in tables])


def rename(db: Path, tables: list[tuple[str, str]]) -> None:
    with closing(sqlite3.connect(db, timeout=30)) as other:
        for before, after in tables:
            other.execute(f'ALTER TABLE "{before}" RENAME TO "{after}"')
        other.commit()


BAD: dict[str, Bad] = {
    "gone": gone,
    "replaced": replaced,
    "locked": locked,
    "full": full,
    "without tables": without_tables,
}


def orders() -> dict[str, dict[str, Any]]:
    """What each operation is asked, about transactions of its own."""
    url = "http://127.0.0.1:1/"
    saga = {"trans_type": "saga", "steps": [{"action": "", "compensate": ""}], "payloads": ["1"]}
    branch = {"trans_type": "tcc", "branch_id": "01", "data": "1", "confirm": url, "cancel": url}
    workflow = {"trans_type": "workflow", "query_prepared": url, "custom_data": '{"name":"w"}'}
    told: dict[str, dict[str, Any]] = {
        "submit": saga,
        "prepare": saga,
        "abort": {"trans_type": "tcc"},
        "registerBranch": branch,
    }
    told |= {"prepareWorkflow": workflow, "forceStop": {}, "resetNextCronTime": {}}
    return {name: {"gid": new_gid(), **fields} for name, fields in told.items()}


LOOKS = (
    *(f"GET {API}/{look}" for look in ("query?gid=before", "all", "all?gid=before", "queryKV?cat=topics", "scanKV")),
    *(f"GET {API}/{look}" for look in ("subscribe?topic=t&url=u", "unsubscribe?topic=t&url=u", "resetCronTime")),
    f"DELETE {API}/topic/t",
)


WRITING = (
    *("http submit", "json-rpc submit", "grpc submit", "http prepare", "json-rpc prepare", "grpc prepare"),
    *("http prepareWorkflow", "grpc prepareWorkflow"),
)
"""What writes when the transactions that it speaks of are new."""


class Asking:
    """Asks everything at once, because what waits for a lock waits long; keeps what was said of errors."""

    def __init__(self, dtm: Dtm) -> None:
        self.dtm = dtm
        self.said: dict[str, str] = {}

    async def ask_all(self) -> None:
        asked: list[tuple[str, Callable[[], Awaitable[str]]]] = []
        for name, order in orders().items():
            asked.append((f"http {name}", lambda name=name, order=order: self._http("POST", f"{API}/{name}", order)))  # type: ignore[misc]  # mypy knows no type of a default
            if name not in ("forceStop", "resetNextCronTime"):
                method = name[0].upper() + name[1:]
                branch = name == "registerBranch"
                message = branch_request_of(order) if branch else request_of(order)
                asked.append((f"grpc {name}", lambda method=method, message=message: self._grpc(method, message)))  # type: ignore[misc]  # as above
            if name in ("submit", "prepare", "abort", "registerBranch"):
                asked.append((f"json-rpc {name}", lambda name=name, order=order: self._rpc(name, order)))  # type: ignore[misc]  # as above
        for look in LOOKS:
            verb, _, target = look.partition(" ")
            asked.append((f"http {look}", lambda verb=verb, target=target: self._http(verb, target)))  # type: ignore[misc]  # as above
        topic = messages.DtmTopicRequest(Topic="t", URL="u")
        for method in ("Subscribe", "Unsubscribe", "DeleteTopic"):
            asked.append((f"grpc {method}", lambda method=method: self._grpc(method, topic)))  # type: ignore[misc]  # as above

        async def keep(name: str, ask: Callable[[], Awaitable[str]]) -> None:
            self.said[name] = await ask()

        async with trio.open_nursery() as nursery:
            for name, ask in asked:
                nursery.start_soon(keep, name, ask)

    async def _http(self, verb: str, target: str, body: object = None) -> str:
        answer = await self.dtm.ask(verb, target, b"" if body is None else json.dumps(body).encode())
        assert answer.status in (200, 409, 500), answer
        if answer.status == 200:
            return ""
        return str(answer.json["message"])

    async def _rpc(self, method: str, params: object) -> str:
        error = (await self.dtm.json_rpc(method, params)).json["error"]
        if error is None:
            return ""
        assert error["code"] in (-32603, -32901), error
        return str(error["message"])

    async def _grpc(self, method: str, message: Any) -> str:
        ended = await GrpcDtm(self.dtm.grpc).call(method, message)
        assert ended.code in ("OK", "ABORTED", "INTERNAL", "UNKNOWN"), ended
        if ended.details in (AWAY, REFUSED):
            assert ended.code == "INTERNAL", ended
        return ended.details


async def succeeds(dtm: Dtm, gid: str = "") -> bool:
    """Whether a saga without anybody to call does."""
    order = {"gid": gid or new_gid(), "trans_type": "saga", "steps": [{"action": ""}], "payloads": ["1"]}
    return (await dtm.post("submit", {**order, "wait_result": True})).status == 200


def check(said: dict[str, str]) -> None:
    for name, message in said.items():
        assert not INSIDE.search(message), (name, message)
        assert not DRIVERS.search(message), (name, message)
        assert message in (AWAY, REFUSED) or "database" not in message, (name, message)


@pytest.mark.parametrize("bad", list(BAD.values()), ids=list(BAD))
async def test_answers_on_a_bad_database_are_our_words_and_the_server_gets_well(tmp_path: Path, bad: Bad) -> None:
    db, log = tmp_path / "flowtx.db", tmp_path / "log"
    settings = {"heartbeat_s": 5, "grace_s": 2}
    with running_server(tmp_path, settings) as dtm:
        assert await succeeds(dtm, "before")
        good = Asking(dtm)
        await good.ask_all()
        check(good.said)
        assert AWAY not in good.said.values()
        asking = Asking(dtm)
        with bad(db, dtm.pid):
            await asking.ask_all()
        check(asking.said)
        failed = {name for name, message in asking.said.items() if message in (AWAY, REFUSED)}
        assert set(WRITING) <= failed, asking.said
        said_in_log = log.read_text()
        assert os.fspath(db) in said_in_log, "the log says which database"
        with trio.fail_after(WELL_MAX_S):
            while not await succeeds(dtm):  # noqa: ASYNC110 - seen through a socket
                await trio.sleep(0.2)
        assert (await dtm.query("before"))["transaction"]["status"] == "succeed"
        again = Asking(dtm)
        await again.ask_all()
        assert not {AWAY, REFUSED} & set(again.said.values()), again.said
