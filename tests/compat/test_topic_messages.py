"""Messages to topics: checks 51 to 54."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from tests.compat.dtm import SUCCESS, Dtm
from tests.compat.orders import new_gid
from tests.compat.web import Answer, Participant

A = "http://127.0.0.1:1/a"


async def subscribe(dtm: Dtm, topic: str, url: str, remark: str = "") -> Answer:
    return await dtm.get("subscribe?" + urlencode({"topic": topic, "url": url, "remark": remark}))


async def unsubscribe(dtm: Dtm, topic: str, url: str) -> Answer:
    return await dtm.get("unsubscribe?" + urlencode({"topic": topic, "url": url}))


async def test_053_a_message_to_an_unknown_topic_is_refused_and_nothing_is_stored(dtm: Dtm) -> None:
    for operation in ("submit", "prepare"):
        order = {
            "gid": new_gid(),
            "trans_type": "msg",
            "steps": [{"action": f"topic://{new_gid()}"}],
            "payloads": ["{}"],
        }
        answer = await dtm.post(operation, order)
        assert answer.status == 500
        assert "topic not found" in answer.json["message"]
        assert not await dtm.is_stored(str(order["gid"]))


async def test_053_a_topic_that_all_have_left_is_not_found_either(dtm: Dtm) -> None:
    topic = new_gid()
    await subscribe(dtm, topic, A)
    await unsubscribe(dtm, topic, A)
    if dtm.control:
        await dtm.control.refresh_topics()
    order = {"gid": new_gid(), "trans_type": "msg", "steps": [{"action": f"topic://{topic}"}], "payloads": ["{}"]}
    answer = await dtm.post("submit", order)
    assert answer.status == 500
    assert "topic not found" in answer.json["message"]


@pytest.mark.parametrize("count", [1, 2])
async def test_051_052_054_a_message_goes_to_every_subscriber(dtm: Dtm, participant: Participant, count: int) -> None:
    topic = new_gid()
    for path in ["/first", "/second"][:count]:
        await subscribe(dtm, topic, participant.url + path)
    if dtm.control:  # of DTM itself: a topic counts there only after the next refresh
        await dtm.control.refresh_topics()
    order = {
        "gid": new_gid(),
        "trans_type": "msg",
        "steps": [{"action": f"topic://{topic}"}, {"action": f"{participant.url}/plain"}],
        "payloads": ['{"to":"all"}', '{"to":"one"}'],
    }
    assert (await dtm.post("submit", order)).body == SUCCESS
    await dtm.until(str(order["gid"]), "succeed")
    if count == 1:
        assert await dtm.ops(str(order["gid"])) == ["01 action", "02 action"]
        assert participant.paths == ["/first", "/plain"]
    else:
        assert await dtm.ops(str(order["gid"])) == ["01-01 action", "01-02 action", "02 action"]
        assert participant.paths == ["/first", "/second", "/plain"]
    assert [call.body for call in participant.calls_of("/first")] == [b'{"to":"all"}']
