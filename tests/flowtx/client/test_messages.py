"""Messages against a server that answers as DTM does: whatever becomes of the business, the message knows it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
import trio

from flowtx.client.async_client import AsyncDtmClient
from flowtx.client.barrier import Barrier
from flowtx.client.barrier_upkeep import create_table
from flowtx.client.errors import Duplicated, ServerRefused, ServerUnreachable
from flowtx.client.exchanges import ClientAnswer, ClientRequest
from flowtx.client.message import Message, MessageStep, topic
from flowtx.client.options import Options
from flowtx.client.sync_client import DtmClient
from flowtx_dsl.errors import PayloadError, Refused, WorkflowError
from tests.flowtx.client.conftest import Runner
from tests.flowtx.client.genuine import GenuineDtm, Said

OK = (200, b"{}")
Business = Callable[[sqlite3.Connection], object]


@pytest.fixture
def database(tmp_path: Path, dtm_server: GenuineDtm) -> Path:
    """A service's database; ``/query`` asks it, ``/in`` receives."""
    path = tmp_path / "service.db"
    with sqlite3.connect(path) as connection:
        create_table(connection)
        connection.execute("create table orders (id integer)")
    connection.close()

    def query(query: dict[str, str], body: bytes) -> Said:
        connection = sqlite3.connect(path)
        try:
            Barrier.from_query(query).query_prepared(connection)
        except Refused as refused:
            return 409, refused.message.encode()
        finally:
            connection.close()
        return OK

    dtm_server.participants |= {"/query": query, "/in": lambda query, body: OK, "/in2": lambda query, body: OK}
    return path


def message(server: GenuineDtm, *, delay_s: int = 0) -> Message:
    step = MessageStep(action=f"{server.url}/in", payload={"order": 7})
    return Message(gid="m-1", steps=(step,), query_prepared=f"{server.url}/query", delay_s=delay_s)


def do(
    runner: Runner,
    server: GenuineDtm,
    database: Path,
    *,
    before: BaseException | None = None,
    after: BaseException | None = None,
) -> object:
    """Insert an order and send the message; with an error raised in the local transaction, or after it."""

    def local(connection: sqlite3.Connection) -> str:
        connection.execute("insert into orders values (7)")
        if before is not None:
            raise before
        return "ordered"

    def business(barrier: Barrier) -> object:
        connection = sqlite3.connect(database)
        try:
            ran = barrier.call(connection, local)
        finally:
            connection.close()
        if after is not None:
            raise after
        return ran

    async def business_async(barrier: Barrier) -> object:
        await anyio.lowlevel.checkpoint()
        return business(barrier)

    async def main() -> object:
        async with AsyncDtmClient(server.url) as dtm:
            return await dtm.do_and_submit(message(server, delay_s=3), business_async)

    match runner:
        case "threads":
            return DtmClient(server.url).do_and_submit(message(server, delay_s=3), business)
        case "trio":
            return trio.run(main)
        case "asyncio":
            return asyncio.run(main())


def orders(database: Path) -> int:
    connection = sqlite3.connect(database)
    try:
        found: int = connection.execute("select count(*) from orders").fetchone()[0]
        return found
    finally:
        connection.close()


def test_a_message_is_prepared_done_and_submitted(runner: Runner, dtm_server: GenuineDtm, database: Path) -> None:
    ran = do(runner, dtm_server, database)
    assert str(ran) == "Ran(value='ordered')"
    assert dtm_server.paths() == ["prepare", "submit", "action /in"]
    prepare, submit, received = dtm_server.asked
    assert prepare.json == {
        "gid": "m-1",
        "trans_type": "msg",
        "steps": [{"action": f"{dtm_server.url}/in"}],
        "payloads": ['{"order":7}'],
        "query_prepared": f"{dtm_server.url}/query",
    }
    assert submit.json == {**prepare.json, "custom_data": '{"delay":3}'}
    assert received.body == b'{"order":7}'
    assert orders(database) == 1


def test_a_refusal_aborts_without_asking(runner: Runner, dtm_server: GenuineDtm, database: Path) -> None:
    with pytest.raises(Refused, match="sold out"):
        do(runner, dtm_server, database, before=Refused("sold out"))
    assert dtm_server.paths() == ["prepare", "abort"]
    assert (orders(database), dtm_server.transactions["m-1"].status) == (0, "failed")


def test_an_error_before_the_commit_aborts(runner: Runner, dtm_server: GenuineDtm, database: Path) -> None:
    with pytest.raises(ValueError, match="broken"):
        do(runner, dtm_server, database, before=ValueError("broken"))
    assert dtm_server.paths() == ["prepare", "msg /query", "abort"]
    asked = dtm_server.asked[1]
    assert (asked.method, asked.query) == ("GET", {"branch_id": "00", "gid": "m-1", "op": "msg", "trans_type": "msg"})
    assert orders(database) == 0


def test_an_error_after_the_commit_submits_all_the_same(runner: Runner, dtm_server: GenuineDtm, database: Path) -> None:
    with pytest.raises(ValueError, match="after"):
        do(runner, dtm_server, database, after=ValueError("after"))
    assert dtm_server.paths() == ["prepare", "msg /query", "submit", "action /in"]
    assert "custom_data" in dtm_server.asked[2].json
    assert orders(database) == 1


@pytest.mark.parametrize("said", [(425, b""), (500, b""), None])
def test_what_nobody_knows_is_left_to_the_server(
    runner: Runner, dtm_server: GenuineDtm, database: Path, said: Said | None
) -> None:
    dtm_server.broken["/query"] = said
    with pytest.raises(ValueError, match="after") as raised:
        do(runner, dtm_server, database, after=ValueError("after"))
    assert dtm_server.paths() == ["prepare", "msg /query"]
    assert "left to the server" in raised.value.__notes__[0]


def test_a_message_done_twice_is_sent_once_more_and_done_once(dtm_server: GenuineDtm, database: Path) -> None:
    dtm_server.broken["/api/dtmsvr/submit"] = None
    with pytest.raises(ServerUnreachable):
        do("threads", dtm_server, database)
    del dtm_server.broken["/api/dtmsvr/submit"]
    with pytest.raises(Duplicated):
        do("threads", dtm_server, database)
    assert dtm_server.paths()[2:] == ["prepare", "msg /query", "submit", "action /in"]
    assert orders(database) == 1


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_a_cancelled_business_aborts_its_message(loop: Runner, dtm_server: GenuineDtm, database: Path) -> None:
    async def main() -> None:
        scope = anyio.CancelScope()

        async def business(_: object) -> None:
            scope.cancel()
            await anyio.sleep_forever()

        async with AsyncDtmClient(dtm_server.url) as dtm:
            with scope:
                await dtm.do_and_submit(message(dtm_server), business)
        assert scope.cancelled_caught

    asyncio.run(main()) if loop == "asyncio" else trio.run(main)
    assert dtm_server.paths() == ["prepare", "msg /query", "abort"]


def test_a_plain_function_is_told_apart_on_an_event_loop(dtm_server: GenuineDtm, database: Path) -> None:
    async def main() -> None:
        async with AsyncDtmClient(dtm_server.url) as dtm:
            await dtm.do_and_submit(message(dtm_server), lambda _: 7)  # type: ignore[arg-type,return-value]  # on purpose  # pyright: ignore[reportArgumentType]

    with pytest.raises(WorkflowError, match="gave back a int at once, expected an async function"):
        trio.run(main)


def test_a_message_reaches_every_subscriber_of_a_topic(runner: Runner, dtm_server: GenuineDtm, database: Path) -> None:
    steps = (MessageStep(action=topic("orders"), payload=[1]),)
    sent = Message(gid="m-2", steps=steps, concurrent=True, options=Options(wait_result=True))

    async def main() -> None:
        async with AsyncDtmClient(dtm_server.url) as dtm:
            await dtm.subscribe("orders", f"{dtm_server.url}/in", remark="stock & more")
            await dtm.subscribe("orders", f"{dtm_server.url}/in2")
            await dtm.submit(sent)
            await dtm.unsubscribe("orders", f"{dtm_server.url}/in2")
            await dtm.delete_topic("orders")

    if runner == "threads":
        dtm = DtmClient(dtm_server.url)
        dtm.subscribe("orders", f"{dtm_server.url}/in", remark="stock & more")
        dtm.subscribe("orders", f"{dtm_server.url}/in2")
        dtm.submit(sent)
        dtm.unsubscribe("orders", f"{dtm_server.url}/in2")
        dtm.delete_topic("orders")
    else:
        asyncio.run(main()) if runner == "asyncio" else trio.run(main)
    assert dtm_server.asked[0].query == {"topic": "orders", "url": f"{dtm_server.url}/in", "remark": "stock & more"}
    assert (dtm_server.asked[2].json["concurrent"], dtm_server.asked[2].json["wait_result"]) == (True, True)
    assert dtm_server.paths() == [
        *("subscribe", "subscribe", "submit", "action /in", "action /in2", "unsubscribe", "topic/orders"),
    ]
    assert dtm_server.topics == {}


def test_a_prepared_message_can_be_aborted_and_not_submitted_then(dtm_server: GenuineDtm, database: Path) -> None:
    dtm = DtmClient(dtm_server.url)
    dtm.prepare(message(dtm_server))
    dtm.abort(message(dtm_server))
    with pytest.raises(ServerRefused, match="cannot sumbmit"):
        dtm.submit(message(dtm_server))
    assert "action /in" not in dtm_server.paths()


def test_a_message_that_no_server_can_send_as_meant_is_refused() -> None:
    dtm = DtmClient("http://dtm:1", send=lambda request: pytest.fail(f"sent {request}"))
    with pytest.raises(WorkflowError, match="has no query_prepared"):
        dtm.prepare(Message(gid="m-1", steps=()))
    with pytest.raises(WorkflowError, match="delay_s is -1"):
        Message(gid="m-1", steps=(), delay_s=-1)
    with pytest.raises(WorkflowError, match="retry_count_max=3"):
        Message(gid="m-1", steps=(), options=Options(retry_count_max=3))
    with pytest.raises(WorkflowError, match="the gid is 'a;b'"):
        Message(gid="a;b", steps=())
    with pytest.raises(PayloadError, match="payload of step 0 of message m-1 cannot be sent as JSON"):
        dtm.submit(Message(gid="m-1", steps=(MessageStep(action="http://a", payload=object()),)))
    with pytest.raises(WorkflowError, match="no message can be sent to 'redis://\\*\\*\\*@h/orders'"):
        dtm.submit(Message(gid="m-1", steps=(MessageStep(action="redis://ann:secret@h/orders"),)))


def test_a_message_may_go_to_a_queue_whatever_the_way_to_the_server(dtm_server: GenuineDtm) -> None:
    sent: list[bytes] = []

    def send(request: ClientRequest) -> ClientAnswer:
        sent.append(request.body)
        return ClientAnswer(status=200, body=b'{"dtm_result":"SUCCESS"}')

    dtm = DtmClient(dtm_server.url, send=send)
    dtm.submit(Message(gid="m-1", steps=(MessageStep(action="redis://h/0/orders"),)))
    assert b'"action":"redis://h/0/orders"' in sent[0].replace(b" ", b"")
