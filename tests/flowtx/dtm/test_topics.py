"""Topics and key-values: who is told what, and that what was written counts at once (checks 39 to 48)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio

from flowtx.dtm.operations.desk import Desk, answered
from flowtx.dtm.operations.kv import query_kv, scan_kv
from flowtx.dtm.operations.topics import SUBSCRIBERS_MAX, delete_topic, subscribe, unsubscribe, urls_of
from flowtx.dtm.outcomes import Done, DtmError, Outcome
from flowtx.dtm.routes import answer_unrouted
from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.queries import ScanRequest, parse_scan_request
from flowtx.dtm.wire.views import KvPage, KvScan, KvView

OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]


def add(desk: Desk, topic: str, url: str, remark: str = "") -> Awaitable[Outcome]:
    return answered(subscribe(desk, topic=topic, url=url, remark=remark))


def remove(desk: Desk, topic: str, url: str) -> Awaitable[Outcome]:
    return answered(unsubscribe(desk, topic=topic, url=url))


async def found(desk: Desk, category: str = "topics", key: str = "") -> list[KvView]:
    outcome = await query_kv(desk, category=category, key=key)
    assert isinstance(outcome, Done)
    assert isinstance(outcome.value, KvPage)
    return outcome.value.kv


async def test_subscribing_makes_the_topic_and_counts_its_versions(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        assert await add(desk, "t", "http://a/?x=1&y=2", "the first") == Done()
        (entry,) = await found(desk)
        assert (entry.cat, entry.k, entry.version) == ("topics", "t", 1)
        assert entry.v == '[{"url":"http://a/?x=1\\u0026y=2","remark":"the first"}]'
        assert await add(desk, "t", "http://b/") == Done()
        (entry,) = await found(desk)
        assert entry.version == 2
        assert [each["url"] for each in json.loads(entry.v)] == ["http://a/?x=1&y=2", "http://b/"]
        assert await urls_of(desk, "t") == ("http://a/?x=1&y=2", "http://b/")


async def test_misuse_is_told_in_dtms_words(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        assert await add(desk, "", "u") == DtmError("empty topic")
        assert await add(desk, "t", "") == DtmError("empty url")
        assert await remove(desk, "", "u") == DtmError("empty topic")
        assert await remove(desk, "t", "") == DtmError("empty url")
        assert await remove(desk, "t", "u") == DtmError("no such a topic")
        await add(desk, "t", "u")
        assert await add(desk, "t", "u") == DtmError("this url exists")
        assert await remove(desk, "t", "v") == DtmError("no such an url ")
        assert await remove(desk, "t", "u") == Done()
        assert await remove(desk, "t", "u") == DtmError("this topic is empty")
        (entry,) = await found(desk)
        assert (entry.v, entry.version) == ("[]", 2)


@pytest.mark.parametrize("topic", ["t" * 129, "t\0"])
async def test_a_topic_that_not_every_database_can_keep_is_refused(topic: str, open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        assert isinstance(await add(desk, topic, "u"), DtmError)
        assert await found(desk) == []


async def test_a_topic_takes_so_many_subscribers(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        for number in range(SUBSCRIBERS_MAX):
            assert await add(desk, "t", f"u{number}") == Done()
        outcome = await add(desk, "t", "one more")
        assert outcome == DtmError(f"the topic has {SUBSCRIBERS_MAX} subscribers, expected at most {SUBSCRIBERS_MAX}")


async def test_a_deleted_topic_is_gone_at_once_and_can_be_made_again(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await add(desk, "t", "u")
        assert await delete_topic(desk, "t") == Done()
        assert await delete_topic(desk, "t") == DtmError("storage: NotFound")
        with pytest.raises(RequestError, match="topic not found"):
            await urls_of(desk, "t")
        await add(desk, "t", "v")
        assert await urls_of(desk, "t") == ("v",)


async def test_a_topic_without_subscribers_reaches_nobody(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await add(desk, "t", "u")
        await remove(desk, "t", "u")
        with pytest.raises(RequestError, match="topic not found"):
            await urls_of(desk, "t")


async def test_of_many_writers_at_once_none_is_lost(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        async with trio.open_nursery() as writers:
            for number in range(20):
                writers.start_soon(add, desk, "t", f"u{number}")
        assert len(await urls_of(desk, "t")) == 20
        async with trio.open_nursery() as writers:
            for number in range(20):
                writers.start_soon(remove, desk, "t", f"u{number}")
        (entry,) = await found(desk)
        assert (entry.v, entry.version) == ("[]", 40)


async def test_key_values_are_found_by_category_and_key(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await add(desk, "t", "u")
        await add(desk, "s", "u")
        assert [entry.k for entry in await found(desk, "topics", "t")] == ["t"]
        assert [entry.k for entry in await found(desk, "", "t")] == ["t"]
        assert [entry.k for entry in await found(desk, "", "")] == ["s", "t"]
        assert await found(desk, "topics", "unknown") == []
        assert await found(desk, "topic", "t") == []


async def test_a_scan_goes_through_a_category_page_by_page(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        for topic in "abc":
            await add(desk, topic, "u")
        keys: list[str] = []
        request = parse_scan_request({"cat": "topics", "limit": "1"})
        while True:
            outcome = await scan_kv(desk, request)
            assert isinstance(outcome, Done)
            assert isinstance(outcome.value, KvScan)
            keys += [entry.k for entry in outcome.value.kv]
            if not outcome.value.next_position:
                break
            request = parse_scan_request({"cat": "topics", "limit": "1", "position": outcome.value.next_position})
        assert keys == ["c", "b", "a"]


def test_a_scan_has_a_page_of_a_hundred_and_refuses_what_is_no_number() -> None:
    assert parse_scan_request({}) == ScanRequest(category="", before_id=None, limit=100)
    for wrong in ({"limit": "x"}, {"position": "x"}):
        with pytest.raises(RequestError, match="convert to int error: x"):
            parse_scan_request(wrong)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/api/dtmsvr/topic/t/", 307),
        ("GET", "/api/dtmsvr/topic/t/", 404),
        ("DELETE", "/api/dtmsvr/topic/", 404),
        ("DELETE", "/api/dtmsvr/topic//", 404),
    ],
)
def test_only_a_named_route_with_a_slash_too_many_is_redirected(method: str, path: str, status: int) -> None:
    assert answer_unrouted(method, path, b"").status == status
