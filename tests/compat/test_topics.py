"""Topics and key-values: checks 39 to 54."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import trio

from tests.compat.dtm import SUCCESS, Dtm
from tests.compat.orders import new_gid
from tests.compat.web import Answer

A, B = "http://127.0.0.1:1/a", "http://127.0.0.1:1/b?x=1&y=2"


async def subscribe(dtm: Dtm, topic: str, url: str, remark: str = "") -> Answer:
    return await dtm.get("subscribe?" + urlencode({"topic": topic, "url": url, "remark": remark}))


async def unsubscribe(dtm: Dtm, topic: str, url: str) -> Answer:
    return await dtm.get("unsubscribe?" + urlencode({"topic": topic, "url": url}))


async def kv(dtm: Dtm, topic: str) -> list[dict[str, Any]]:
    answer = await dtm.get("queryKV?" + urlencode({"cat": "topics", "key": topic}))
    assert answer.status == 200
    found: list[dict[str, Any]] = answer.json["kv"]
    return found


def said(answer: Answer) -> tuple[int, Any]:
    return answer.status, answer.json


def error(message: str) -> tuple[int, Any]:
    return 500, {"message": message}


async def test_039_042_subscribers_are_kept_under_their_topic(dtm: Dtm) -> None:
    topic = new_gid()
    answer = await subscribe(dtm, topic, A, "why & how")
    assert (answer.status, answer.body) == (200, SUCCESS)
    (row,) = await kv(dtm, topic)
    assert list(row) == ["id", "create_time", "update_time", "cat", "k", "v", "version"]
    assert (row["cat"], row["k"], row["version"]) == ("topics", topic, 1)
    assert json.loads(row["v"]) == [{"url": A, "remark": "why & how"}]
    assert (await subscribe(dtm, topic, B)).body == SUCCESS
    (row,) = await kv(dtm, topic)
    assert row["version"] == 2
    assert json.loads(row["v"]) == [{"url": A, "remark": "why & how"}, {"url": B, "remark": ""}]


async def test_040_041_a_subscription_that_cannot_be_is_refused(dtm: Dtm) -> None:
    topic = new_gid()
    await subscribe(dtm, topic, A)
    assert said(await subscribe(dtm, topic, A)) == error("this url exists")
    assert said(await subscribe(dtm, "", A)) == error("empty topic")
    assert said(await subscribe(dtm, topic, "")) == error("empty url")
    assert said(await unsubscribe(dtm, "", A)) == error("empty topic")
    assert said(await unsubscribe(dtm, topic, "")) == error("empty url")
    assert said(await dtm.get("subscribe")) == error("empty topic")


async def test_043_044_subscribers_leave_one_by_one_and_the_topic_stays(dtm: Dtm) -> None:
    topic = new_gid()
    await subscribe(dtm, topic, A)
    await subscribe(dtm, topic, B)
    assert said(await unsubscribe(dtm, topic, "http://127.0.0.1:1/c")) == error("no such an url ")
    assert (await unsubscribe(dtm, topic, A)).body == SUCCESS
    assert said(await unsubscribe(dtm, topic, A)) == error("no such an url ")
    assert (await unsubscribe(dtm, topic, B)).body == SUCCESS
    assert said(await unsubscribe(dtm, topic, B)) == error("this topic is empty")
    assert said(await unsubscribe(dtm, new_gid(), A)) == error("no such a topic")
    (row,) = await kv(dtm, topic)
    assert (row["v"], row["version"]) == ("[]", 4)


async def test_045_a_topic_is_deleted_once(dtm: Dtm) -> None:
    topic = new_gid()
    await subscribe(dtm, topic, A)
    assert (await dtm.ask("DELETE", f"/api/dtmsvr/topic/{topic}")).body == SUCCESS
    assert said(await dtm.ask("DELETE", f"/api/dtmsvr/topic/{topic}")) == error("storage: NotFound")
    assert (await dtm.ask("DELETE", "/api/dtmsvr/topic/")).status == 404
    assert await kv(dtm, topic) == []


async def test_046_subscriptions_at_once_are_all_kept_or_refused(dtm: Dtm) -> None:
    topic = new_gid()
    await subscribe(dtm, topic, A)
    succeeded: list[str] = []

    async def one(url: str) -> None:
        if (await subscribe(dtm, topic, url)).status == 200:
            succeeded.append(url)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, f"http://127.0.0.1:1/{number}")
    (row,) = await kv(dtm, topic)
    assert {each["url"] for each in json.loads(row["v"])} == {A, *succeeded}
    for url in (A, *succeeded):
        assert (await unsubscribe(dtm, topic, url)).body == SUCCESS
    (row,) = await kv(dtm, topic)
    assert row["version"] == 2 * (len(succeeded) + 1)


async def test_047_key_values_come_in_pages(fresh_dtm: Dtm) -> None:
    topics = sorted(new_gid() for _ in range(3))
    for topic in topics:
        await subscribe(fresh_dtm, topic, A)
    seen: list[str] = []
    position = ""
    for _ in range(4):
        page = (await fresh_dtm.get(f"scanKV?cat=topics&limit=1&position={quote(position)}")).json
        assert list(page) == ["kv", "next_position"]
        seen += [row["k"] for row in page["kv"]]
        position = page["next_position"]
        if not position:
            break
    assert sorted(seen) == topics
    assert position == ""
    assert (await fresh_dtm.get("scanKV?cat=topics")).json["next_position"] == ""


async def test_047_a_limit_that_is_no_number_is_named(dtm: Dtm) -> None:
    assert said(await dtm.get("scanKV?cat=topics&limit=x")) == error("convert to int error: x")


async def test_048_a_key_that_nobody_stored_is_not_found(dtm: Dtm) -> None:
    answer = await dtm.get("queryKV?cat=topics&key=nothing")
    assert (answer.status, answer.body) == (200, b'{"kv":[]}')
