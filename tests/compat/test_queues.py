"""Messages to real brokers, submitted over HTTP, JSON-RPC and gRPC: by name, by topic, and when they were prepared."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
import trio

from tests.brokers.side import Received, Side
from tests.brokers.sides import SIDES
from tests.compat.dtm import Dtm
from tests.compat.grpc_side import OK as GRPC_OK
from tests.compat.grpc_side import GrpcDtm, messages
from tests.compat.orders import new_gid
from tests.compat.ways import OK, Way
from tests.compat.web import Participant


@pytest.fixture(params=list(SIDES))
def side(request: pytest.FixtureRequest) -> Side:
    return SIDES[request.param].shared()


async def new_queue(side: Side) -> str:
    return await trio.to_thread.run_sync(side.queue)


async def received(side: Side, url: str) -> list[Received]:
    return await trio.to_thread.run_sync(side.received, url)


def msg(*actions: str, **more: object) -> dict[str, object]:
    steps = [{"action": action} for action in actions]
    payloads = [json.dumps({"step": number}) for number in range(len(actions))]
    return {"gid": new_gid(), "trans_type": "msg", "steps": steps, "payloads": payloads, **more}


def facts_of(found: Received) -> dict[str, str]:
    return {name.removeprefix("dtm-"): value for name, value in found.headers.items() if name.startswith("dtm-")}


async def test_a_message_arrives_in_the_queue_with_its_facts(dtm: Dtm, way: type[Way], side: Side) -> None:
    url = await new_queue(side)
    order = msg(url, url, branch_headers={"tenant": "7"})
    gid = str(order["gid"])
    assert await way(dtm).submit(order) == OK
    await dtm.until(gid, "succeed")
    first, second = await received(side, url)
    assert (first.body, second.body) == (b'{"step": 0}', b'{"step": 1}')
    assert facts_of(first) == {"gid": gid, "trans_type": "msg", "branch_id": "01", "op": "action"}
    assert facts_of(second)["branch_id"] == "02"
    assert first.message_id != second.message_id
    assert first.message_id == first.headers["idempotency-key"]
    assert first.headers["tenant"] == "7"


async def test_bytes_that_came_over_grpc_arrive_as_they_are(dtm: Dtm, side: Side) -> None:
    url, gid, body = await new_queue(side), new_gid(), bytes(range(256))
    steps = json.dumps([{"action": url}])
    order = messages.DtmRequest(Gid=gid, TransType="msg", BinPayloads=[body], Steps=steps)
    assert await GrpcDtm(dtm.grpc).call("Submit", order) == GRPC_OK
    await dtm.until(gid, "succeed")
    assert [each.body for each in await received(side, url)] == [body]


async def test_a_prepared_message_goes_when_its_sender_says_so(
    dtm: Dtm, participant: Participant, way: type[Way], side: Side
) -> None:
    url = await new_queue(side)
    submitted, aborted = (msg(url, query_prepared=f"{participant.url}/prepared") for _ in range(2))
    for order in (submitted, aborted):
        assert await way(dtm).prepare(order) == OK
    assert await received(side, url) == []
    assert await way(dtm).abort(aborted) == OK
    assert await way(dtm).submit(submitted) == OK
    await dtm.until(str(submitted["gid"]), "succeed")
    assert [facts_of(each)["gid"] for each in await received(side, url)] == [submitted["gid"]]


async def test_queues_and_participants_share_a_topic(dtm: Dtm, participant: Participant, side: Side) -> None:
    url, topic = await new_queue(side), new_gid()
    for each in (url, f"{participant.url}/a"):
        answer = await dtm.get("subscribe?" + urlencode({"topic": topic, "url": each, "remark": ""}))
        assert answer.status == 200, answer
    order = msg(f"topic://{topic}", concurrent=True)
    assert (await dtm.post("submit", order)).status == 200
    await dtm.until(str(order["gid"]), "succeed")
    assert participant.paths == ["/a"]
    (found,) = await received(side, url)
    assert facts_of(found)["branch_id"] == "01-01"


async def test_a_message_that_nobody_takes_waits_and_the_query_says_why(dtm: Dtm, side: Side) -> None:
    url, why = await trio.to_thread.run_sync(side.untaken)
    order = msg(url)
    assert (await dtm.post("submit", order)).status == 200
    gid = str(order["gid"])
    with trio.fail_after(30):
        found = await dtm.transaction(gid)
        while why not in found.get("last_error", ""):
            await trio.sleep(0.02)
            found = await dtm.transaction(gid)
    assert (found["status"], await dtm.rows(gid)) == ("submitted", "P")
    assert (await dtm.post("forceStop", {"gid": gid})).status == 200


@pytest.mark.parametrize("url", ["redis://ann:geheim-7391@h/orders", "redis://ann:geheim-7391@h"])
async def test_a_malformed_queue_is_refused_in_every_way(dtm: Dtm, way: type[Way], url: str) -> None:
    order = msg(url)
    told = await way(dtm).submit(order)
    assert told.kind == "error"
    assert "no message can be sent to 'redis://***@h" in told.message
    assert not await dtm.is_stored(str(order["gid"]))
