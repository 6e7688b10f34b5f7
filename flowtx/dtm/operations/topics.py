"""Topics: named lists of subscribers that a message is expanded to (spec 2.4, 6.2).

The law of this file: a topic is one key-value, read and written through the journal every time, so that subscribing and
deleting count at once and on every node (spec 12.15). Whoever is overtaken by another writer looks again.
"""

from __future__ import annotations

import msgspec

from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.outcomes import Done, DtmError, Outcome
from flowtx.dtm.queue_urls import wrong_with_queue
from flowtx.dtm.wire import answers
from flowtx.dtm.wire.errors import RequestError
from flowtx_dsl.queues import shown_url
from flowtx_engine.journal.errors import ConflictError
from flowtx_engine.journal.records import KvEntry

CATEGORY = "topics"
"""Where topics live among the key-values."""
TOPIC_LENGTH_MAX = 128
"""The longest name of a topic, in characters; DTM's SQL stores hold no longer key."""
SUBSCRIBERS_MAX = 1_000
"""The most subscribers of a topic: a message has a branch for each."""


class Subscriber(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a topic, in DTM's order of fields."""

    url: str
    remark: str = ""


_subscribers = msgspec.json.Decoder(tuple[Subscriber, ...])


async def subscribe(desk: Desk, *, topic: str, url: str, remark: str) -> Outcome:
    """Add a subscriber, and make the topic if it is new (subscribe)."""
    if wrong := _wrong_with(topic, url) or wrong_with_queue(url):
        return DtmError(wrong)
    while True:
        entry = await desk.engine.kv.get(CATEGORY, topic)
        subscribers = subscribers_of(entry)
        if any(subscriber.url == url for subscriber in subscribers):
            return DtmError("this url exists")
        if len(subscribers) >= SUBSCRIBERS_MAX:
            return DtmError(f"the topic has {len(subscribers)} subscribers, expected at most {SUBSCRIBERS_MAX}")
        if await _put(desk, topic, entry, (*subscribers, Subscriber(url=url, remark=remark))):
            return Done()


async def unsubscribe(desk: Desk, *, topic: str, url: str) -> Outcome:
    """Remove a subscriber; the topic stays, if need be without any (unsubscribe).

    A queue is known by its URL as it is shown, too: who reads it there does not see its password.
    """
    if wrong := _wrong_with(topic, url):
        return DtmError(wrong)
    while True:
        entry = await desk.engine.kv.get(CATEGORY, topic)
        if entry is None:
            return DtmError("no such a topic")
        subscribers = subscribers_of(entry)
        if not subscribers:
            return DtmError("this topic is empty")
        left = tuple(subscriber for subscriber in subscribers if url not in (subscriber.url, shown_url(subscriber.url)))
        if len(left) == len(subscribers):
            return DtmError("no such an url ")  # the blank at its end is on DTM's wire
        if await _put(desk, topic, entry, left):
            return Done()


async def delete_topic(desk: Desk, topic: str) -> Outcome:
    """Remove a topic with its subscribers (DELETE topic)."""
    if await desk.engine.kv.delete(CATEGORY, topic):
        return Done()
    return DtmError("storage: NotFound")


async def urls_of(desk: Desk, topic: str) -> tuple[str, ...]:
    """Whom a message to this topic goes to; raises ``RequestError`` when there is nobody."""
    subscribers = subscribers_of(await desk.engine.kv.get(CATEGORY, topic) if topic else None)
    if not subscribers:
        raise RequestError("topic not found")
    return tuple(subscriber.url for subscriber in subscribers)


def subscribers_of(entry: KvEntry | None) -> tuple[Subscriber, ...]:
    """What a topic's value says; raises ``msgspec.DecodeError`` for one that flowtx did not write."""
    return () if entry is None else _subscribers.decode(entry.value)


def _wrong_with(topic: str, url: str) -> str:
    """Why no topic can have this name, or no subscriber this URL; empty when they can."""
    if not topic:
        return "empty topic"
    if not url:
        return "empty url"
    if len(topic) > TOPIC_LENGTH_MAX:
        return f"the topic's name has {len(topic)} characters, expected at most {TOPIC_LENGTH_MAX}"
    if "\0" in topic + url:
        return "the topic or its url holds a NUL character, which not every database can store"
    return ""


async def _put(desk: Desk, topic: str, entry: KvEntry | None, subscribers: tuple[Subscriber, ...]) -> bool:
    """Write a topic on top of what was read; False when another writer was first."""
    value = answers.encode(subscribers).decode()
    try:
        await desk.engine.kv.put(CATEGORY, topic, value, version=0 if entry is None else entry.version)
    except ConflictError:
        return False
    return True
