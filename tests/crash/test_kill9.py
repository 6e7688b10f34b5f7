"""A real server under load, killed with SIGKILL fifty times: what it acknowledged ends, and the money adds up.

The participants live in the test, so that their books survive every kill. The server is ``flowtx serve`` on a SQLite
file with its safe settings. About a second and a half a round.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import re
import secrets
import signal
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from flowtx_engine.calls.http import HttpClient
from flowtx_engine.calls.http_types import HttpFault, HttpRequest

ROUND_COUNT = 50
CLIENT_COUNT = 8
RUN = f"k-{secrets.token_hex(4)}"
"""What the gids of this run begin with."""
ACCOUNTS = ("a", "b", "c", "d")
OPENING = 10_000_000
RunServer = Callable[..., AbstractAsyncContextManager[tuple[trio.Process, str]]]


@dataclass
class Bank:
    """Accounts behind HTTP with a barrier: each op of a branch once, nothing before its action, none after its undo."""

    balances: collections.Counter[str] = field(default_factory=collections.Counter[str])
    done: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])
    call_count: int = 0

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """One call: status and body."""
        self.call_count += 1
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if not query.get("gid", "").startswith(RUN):  # for whoever had this port before
            return 404, b"nobody here knows of that"
        branch, op = (query["gid"], query["branch_id"]), query["op"]
        if parts.path == "/refuse" and op == "action":
            return 409, b"no such account"
        if (*branch, op) not in self.done:
            self.done.add((*branch, op))
            if op == "action" or (*branch, "action") in self.done:
                order = json.loads(body)
                sign = 1 if op == "action" else -1
                self.balances[order["account"]] += sign * order["amount"]
            else:
                self.done.add((*branch, "action"))
        return 200, b"{}"

    async def serve(self, stream: trio.SocketStream) -> None:
        """A connection; it ends when its server is killed, in the middle of a request or not."""
        with contextlib.suppress(trio.BrokenResourceError):
            await self._serve(stream)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """HTTP/1.1, as much of it as the server under test speaks."""
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = await stream.receive_some()
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            length = re.search(rb"(?im)^content-length: *(\d+)", head)
            wanted = int(length[1]) if length else 0
            while len(data) < wanted:
                more = await stream.receive_some()
                if not more:
                    return
                data += more
            body, data = data[:wanted], data[wanted:]
            method, target = head.split(b" ", 2)[:2]
            status, answer = self.answer(method.decode(), target.decode(), body)
            await stream.send_all(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s" % (status, len(answer), answer))


@dataclass
class Load:
    """Clients that submit transfers as sagas and remember what was acknowledged."""

    bank_url: str
    acknowledged: dict[str, bool] = field(default_factory=dict[str, bool])
    sent_count: int = 0

    def saga(self, dice: random.Random) -> tuple[str, bool, bytes]:
        """The next transfer: its gid, whether it will be refused, and the request body."""
        self.sent_count += 1
        gid = f"{RUN}-{self.sent_count}"
        source, target = dice.sample(ACCOUNTS, 2)
        is_refused = dice.random() < 0.3
        second = "refuse" if is_refused else "book"
        amount = dice.randrange(1, 100)
        body = {
            "gid": gid,
            "trans_type": "saga",
            "steps": [
                {"action": f"{self.bank_url}/book", "compensate": f"{self.bank_url}/book"},
                {"action": f"{self.bank_url}/{second}", "compensate": f"{self.bank_url}/book"},
            ],
            "payloads": [
                json.dumps({"account": source, "amount": -amount}),
                json.dumps({"account": target, "amount": amount}),
            ],
            "retry_interval": 1,
        }
        return gid, is_refused, json.dumps(body).encode()

    async def submit_for_ever(self, client: HttpClient, server_url: str, dice: random.Random) -> None:
        """One client: it stops at the first answer that does not come, for then the server is dead."""
        while True:
            gid, is_refused, body = self.saga(dice)
            request = HttpRequest(method="POST", url=f"{server_url}/api/dtmsvr/submit", body=body)
            try:
                response = await client.send(request)
            except HttpFault:
                return
            assert response.status == 200, response
            self.acknowledged[gid] = is_refused


async def kill_under_load(run_server: RunServer, db: Path, log: Path, load: Load, dice: random.Random) -> None:
    """One round: start, load, kill in the middle."""
    async with run_server(db, log) as (process, url), HttpClient() as client:
        with trio.move_on_after(dice.uniform(0.05, 0.6)):
            async with trio.open_nursery() as nursery:
                for _ in range(CLIENT_COUNT):
                    nursery.start_soon(load.submit_for_ever, client, url, random.Random(dice.random()))
        process.send_signal(signal.SIGKILL)


async def statuses(run_server: RunServer, db: Path, log: Path, wanted: set[str]) -> dict[str, str]:
    """How every transaction ended, once all of them have: with a last server that nobody kills."""
    async with run_server(db, log) as (_, url), HttpClient() as client:
        with trio.fail_after(120):
            while True:
                found = await all_transactions(client, url)
                if wanted <= found.keys() and set(found.values()) <= {"succeed", "failed"}:
                    return found
                await trio.sleep(0.5)


async def all_transactions(client: HttpClient, url: str) -> dict[str, str]:
    """The status of every transaction the server knows, by gid, page by page."""
    found: dict[str, str] = {}
    position = ""
    while True:
        path = f"{url}/api/dtmsvr/all?limit=1000&position={position}"
        page = json.loads((await client.send(HttpRequest(method="GET", url=path))).body)
        found |= {row["gid"]: row["status"] for row in page["transactions"]}
        position = page["next_position"]
        if not position:
            return found


# check 202
@pytest.mark.timeout(400)
async def test_fifty_kills_under_load_lose_nothing(tmp_path: Path, run_server: RunServer) -> None:
    seed = int(os.environ.get("FLOWTX_KILL_SEED", time.time_ns() % 1_000_000))
    print(f"repeat with FLOWTX_KILL_SEED={seed}")
    dice = random.Random(seed)
    bank = Bank()
    db, log = tmp_path / "kill.db", tmp_path / "server.log"
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, bank.serve, 0)
        port = listeners[0].socket.getsockname()[1]
        load = Load(f"http://127.0.0.1:{port}")
        for _ in range(ROUND_COUNT):
            await kill_under_load(run_server, db, log, load, dice)
        assert len(load.acknowledged) > ROUND_COUNT, "the load was too thin to mean anything"
        ended = await statuses(run_server, db, log, set(load.acknowledged))
        nursery.cancel_scope.cancel()
    print(f"{len(load.acknowledged)} acknowledged, {len(ended)} stored, {bank.call_count} calls")
    wrong = {gid: ended[gid] for gid, is_refused in load.acknowledged.items() if (ended[gid] == "failed") != is_refused}
    assert wrong == {}
    assert sum(bank.balances.values()) == 0, "money was made or lost"
    for gid, status in ended.items():
        branches = {(branch_id, op) for done_gid, branch_id, op in bank.done if done_gid == gid}
        if status == "succeed":
            assert branches == {("01", "action"), ("02", "action")}, gid
        else:
            assert {("01", "compensate"), ("02", "compensate")} <= branches, gid
