"""Real brokers that are killed, and servers that are, in the middle of a stream of messages: none is lost.

"At least once" is what is promised: a message may come twice, under one id.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio

from flowtx_engine.calls.http import HttpClient
from flowtx_engine.calls.http_types import HttpRequest
from tests.brokers.side import BrokerProcess, Side, own_broker
from tests.brokers.sides import SIDES

ROOT = Path(__file__).parents[2]
ENDS_MAX_S = 90
MESSAGE_COUNT = 90
RunServer = Callable[..., AbstractAsyncContextManager[tuple[trio.Process, str]]]


@pytest.fixture(params=list(SIDES))
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerProcess]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with own_broker(SIDES[request.param], folder) as broker:
        yield broker


@pytest.fixture(params=list(SIDES))
def filling(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Side]:
    """A broker that a test may fill: one of its own only where that is felt by all."""
    kind = SIDES[request.param]
    if kind.fills_a_queue:
        yield kind.shared()
        return
    folder = tmp_path / "broker"
    folder.mkdir()
    with own_broker(kind, folder) as broker:
        yield broker.start()


async def submit(client: HttpClient, server: str, gid: str, url: str) -> None:
    order = {
        "gid": gid,
        "trans_type": "msg",
        "steps": [{"action": url}],
        "payloads": [json.dumps(gid)],
        "retry_interval": 1,
    }
    body = json.dumps(order).encode()
    answer = await client.send(HttpRequest(method="POST", url=f"{server}/api/dtmsvr/submit", body=body))
    assert answer.status == 200, answer


async def transaction(client: HttpClient, server: str, gid: str) -> dict[str, object]:
    answer = await client.send(HttpRequest(method="GET", url=f"{server}/api/dtmsvr/query?gid={gid}"))
    found: dict[str, object] = json.loads(answer.body)["transaction"]
    return found


async def until(client: HttpClient, server: str, gid: str, status: str) -> None:
    while (await transaction(client, server, gid))["status"] != status:  # noqa: ASYNC110 - seen through a socket
        await trio.sleep(0.05)


@pytest.mark.timeout(240)
async def test_a_broker_killed_in_mid_stream_has_every_message_at_the_end(
    tmp_path: Path, run_server: RunServer, broker: BrokerProcess
) -> None:
    side = await trio.to_thread.run_sync(broker.start)
    url = await trio.to_thread.run_sync(side.queue)
    async with run_server(tmp_path / "q.db", tmp_path / "log") as (_, server), HttpClient() as client:
        for number in range(MESSAGE_COUNT):
            await submit(client, server, f"q-{number}", url)
            if number == MESSAGE_COUNT // 3:
                await trio.to_thread.run_sync(broker.kill)
        await trio.to_thread.run_sync(broker.start)
        with trio.fail_after(ENDS_MAX_S):
            for number in range(MESSAGE_COUNT):
                await until(client, server, f"q-{number}", "succeed")
    if userinfo := url.partition("://")[2].partition("@")[0] if "@" in url else "":
        assert f"{userinfo}@" not in (tmp_path / "log").read_text(), "credentials in the log"
    found = await trio.to_thread.run_sync(side.received, url)
    bodies: dict[str, bytes] = {}
    for each in found:
        assert bodies.setdefault(each.message_id, each.body) == each.body
    assert sorted(bodies.values()) == sorted(json.dumps(f"q-{number}").encode() for number in range(MESSAGE_COUNT))


@pytest.mark.timeout(240)
async def test_a_full_broker_gets_the_message_when_there_is_room(
    tmp_path: Path, run_server: RunServer, filling: Side
) -> None:
    full = await trio.to_thread.run_sync(filling.full)
    async with run_server(tmp_path / "q.db", tmp_path / "log") as (_, server), HttpClient() as client:
        await submit(client, server, "q-full", full.url)
        with trio.fail_after(ENDS_MAX_S):
            row = await transaction(client, server, "q-full")
            while full.why not in str(row.get("last_error")):
                await trio.sleep(0.05)
                row = await transaction(client, server, "q-full")
            assert row["status"] == "submitted"
            await trio.to_thread.run_sync(full.make_room)
            await until(client, server, "q-full", "succeed")
    found = await trio.to_thread.run_sync(filling.received, full.url)
    assert [each.body for each in found] == [b'"q-full"']


PROGRAM = """
    import sys

    import flowtx
    import trio

    url, db = sys.argv[1:]


    async def pay() -> None:
        print("paid", flush=True)


    @flowtx.workflow
    async def order(tx: flowtx.Tx) -> str:
        tx.message(flowtx.queue(url), {"order": tx.gid}, retry=flowtx.Retry(first_s=0.1, factor=1))
        await tx.step(pay)
        return "ordered"


    async def main() -> None:
        async with flowtx.open(f"sqlite:///{db}", workflows=[order]) as engine:
            print(await engine.run(order, gid="o-1"), flush=True)


    trio.run(main)
"""


@asynccontextmanager
async def program_on(url: str, folder: Path) -> AsyncGenerator[trio.Process]:
    """A program that embeds the engine and orders once, in a process of its own."""
    (folder / "program.py").write_text(textwrap.dedent(PROGRAM))
    path = os.pathsep.join(str(ROOT / part) for part in (".", "dsl", "engine"))
    with (folder / "program.log").open("ab") as log:
        process = await trio.lowlevel.open_process(
            [sys.executable, str(folder / "program.py"), url, str(folder / "program.db")],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": path},
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def said(process: trio.Process, word: bytes) -> None:
    assert process.stdout is not None
    text = b""
    with trio.fail_after(ENDS_MAX_S):
        while word not in text:
            more = await process.stdout.receive_some()
            assert more, f"the program ended after {text!r}"
            text += more


@pytest.mark.timeout(240)
async def test_a_workflows_message_survives_the_kill_of_its_process(tmp_path: Path, broker: BrokerProcess) -> None:
    side = await trio.to_thread.run_sync(broker.start)
    url = await trio.to_thread.run_sync(side.queue)
    await trio.to_thread.run_sync(broker.kill)
    async with program_on(url, tmp_path) as process:
        await said(process, b"paid")
        await trio.sleep(0.3)  # so that it is under way in vain, most times
        process.kill()
    await trio.to_thread.run_sync(broker.start)
    async with program_on(url, tmp_path) as process:
        await said(process, b"ordered")
    found = await trio.to_thread.run_sync(side.received, url)
    assert {(each.message_id, each.body) for each in found} == {("o-1/0/m", b'{"order":"o-1"}')}
