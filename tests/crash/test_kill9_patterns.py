"""tcc, xa and messages on a real server that is killed with SIGKILL: what was decided happens, and one way only."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import re
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

ROUND_COUNT = 5
CLIENT_COUNT = 6
ENDS_MAX_S = 100
RunServer = Callable[..., AbstractAsyncContextManager[tuple[trio.Process, str]]]

FORWARD = {"tcc": "confirm", "xa": "commit", "msg": "action"}
BACKWARD = {"tcc": "cancel", "xa": "rollback"}


@dataclass
class Books:
    """What participants were asked, by gid: branch and op."""

    asked: collections.defaultdict[str, set[tuple[str, str]]] = field(
        default_factory=lambda: collections.defaultdict(set)
    )

    async def serve(self, stream: trio.SocketStream) -> None:
        """A connection of a server that may be killed in the middle of a request; everything is answered with 200."""
        data = b""
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                while b"\r\n\r\n" not in data:
                    more = await stream.receive_some()
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                length = re.search(rb"(?im)^content-length: *(\d+)", head)
                while len(data) < (wanted := int(length[1]) if length else 0):
                    more = await stream.receive_some()
                    if not more:
                        return
                    data += more
                data = data[wanted:]
                query = parse_qs(urlsplit(head.split(b" ", 2)[1].decode()).query)
                self.asked[query["gid"][0]].add((query["branch_id"][0], query["op"][0]))
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


@dataclass
class Load:
    """Clients that prepare, register and decide, and remember what was acknowledged last."""

    participant: str
    decided: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    sent_count: int = 0

    async def run_for_ever(self, client: HttpClient, server: str, dice: random.Random) -> None:
        """One client: it stops at the first answer that does not come, for then the server is dead."""
        with contextlib.suppress(HttpFault):
            while True:
                await self._one(client, server, dice)

    async def _one(self, client: HttpClient, server: str, dice: random.Random) -> None:
        self.sent_count += 1
        gid, pattern = f"p-{self.sent_count}", dice.choice(["tcc", "xa", "msg"])
        url = self.participant
        steps = [{"action": url}, {"action": url}] if pattern == "msg" else []
        order = {
            "gid": gid,
            "trans_type": pattern,
            "steps": steps,
            "payloads": ["{}"] * len(steps),
            "query_prepared": url,
            "retry_interval": 1,
        }
        await self._post(client, f"{server}/prepare", order)
        for branch_id in () if pattern == "msg" else ("01", "02"):
            branch = {"gid": gid, "trans_type": pattern, "branch_id": branch_id, "data": "{}"}
            await self._post(client, f"{server}/registerBranch", {**branch, "confirm": url, "cancel": url, "url": url})
        decision = dice.choice(["submit", "submit", "abort"])
        await self._post(client, f"{server}/{decision}", order)
        self.decided[gid] = (pattern, decision)

    async def _post(self, client: HttpClient, url: str, body: object) -> None:
        response = await client.send(HttpRequest(method="POST", url=url, body=json.dumps(body).encode()))
        assert (response.status, response.body) == (200, b'{"dtm_result":"SUCCESS"}'), (url, body, response)


async def ended_status_of(client: HttpClient, server: str, gid: str) -> str:
    """How a transaction ended, once it has."""
    while True:
        answer = await client.send(HttpRequest(method="GET", url=f"{server}/query?gid={gid}"))
        status: str = json.loads(answer.body)["transaction"]["status"]
        if status in ("succeed", "failed"):
            return status
        await trio.sleep(0.2)


@pytest.mark.timeout(300)
async def test_what_was_decided_before_a_kill_happens_after_it(tmp_path: Path, run_server: RunServer) -> None:
    seed = int(os.environ.get("FLOWTX_KILL_SEED", time.time_ns() % 1_000_000))
    print(f"repeat with FLOWTX_KILL_SEED={seed}")
    dice = random.Random(seed)
    books = Books()
    db, log = tmp_path / "kill.db", tmp_path / "server.log"
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, books.serve, 0)
        load = Load(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/p")
        for _ in range(ROUND_COUNT):
            async with run_server(db, log) as (process, url), HttpClient() as client:
                with trio.move_on_after(dice.uniform(0.3, 1.2)):
                    async with trio.open_nursery() as clients:
                        for _ in range(CLIENT_COUNT):
                            own = random.Random(dice.random())
                            clients.start_soon(load.run_for_ever, client, f"{url}/api/dtmsvr", own)
                process.send_signal(signal.SIGKILL)
        assert len(load.decided) > ROUND_COUNT, "the load was too thin to mean anything"
        async with run_server(db, log) as (_, url), HttpClient() as client:
            ended: dict[str, str] = {}
            with trio.fail_after(ENDS_MAX_S):
                for gid in load.decided:
                    ended[gid] = await ended_status_of(client, f"{url}/api/dtmsvr", gid)
        nursery.cancel_scope.cancel()
    print(f"{len(load.decided)} decided")
    for gid, (pattern, decision) in load.decided.items():
        if decision == "submit":
            assert ended[gid] == "succeed", gid
            assert books.asked[gid] == {("01", FORWARD[pattern]), ("02", FORWARD[pattern])}, gid
        else:
            assert ended[gid] == "failed", gid
            expected = (
                {("01", BACKWARD[pattern]), ("02", BACKWARD[pattern])}
                if pattern in BACKWARD
                else set[tuple[str, str]]()
            )
            assert books.asked[gid] == expected, gid
