"""Real brokers, and the fake that stands for them, are spoken to alike: what arrives, and what is said if not."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator

import pytest
import trio

from flowtx_dsl.queues import BROKERS, parse_queue_url
from flowtx_engine.calls.queue_types import QueueFault
from flowtx_engine.calls.queues import OPENERS, QueueLimits, Queues
from tests.brokers.both import PUBLISHED_MAX_S, Both, message
from tests.brokers.fake_side import FakeSide
from tests.brokers.missing import hide_libraries
from tests.brokers.sides import SIDES

MANY = 300


@pytest.fixture(params=["fake", *SIDES])
async def both(request: pytest.FixtureRequest) -> AsyncGenerator[Both]:
    if request.param == "fake":
        fake = FakeSide()
        yield Both(fake.network, fake)
        return
    side = SIDES[request.param].shared()
    async with Queues() as queues:
        yield Both(queues, side)
    assert not [each for each in threading.enumerate() if each.name == "flowtx queues"]


async def test_a_message_arrives_as_it_was_given(both: Both) -> None:
    url = both.side.queue()
    body = bytes(range(256)) * 50
    await both.publish(url, 1, body)
    (received,) = await both.received(url)
    assert (received.message_id, received.body) == ("g/1", body)
    wanted = {"dtm-gid": "g", "dtm-op": "action", "idempotency-key": "g/1", "Tenant": "7 x"}
    assert {name: received.headers.get(name) for name in wanted} == wanted


async def test_an_empty_message_arrives(both: Both) -> None:
    url = both.side.queue()
    await both.publish(url, 1, b"")
    assert [received.body for received in await both.received(url)] == [b""]


async def test_many_at_once_arrive_each_once(both: Both) -> None:
    first, second = both.side.queue(), both.side.queue()
    async with trio.open_nursery() as nursery:
        for number in range(MANY):
            nursery.start_soon(both.publish, (first, second)[number % 2], number)
    found = [received.message_id for url in (first, second) for received in await both.received(url)]
    assert sorted(found) == sorted(f"g/{number}" for number in range(MANY))


async def test_one_after_another_arrive_in_order(both: Both) -> None:
    url = both.side.queue()
    for number in range(20):
        await both.publish(url, number)
    assert [received.message_id for received in await both.received(url)] == [f"g/{number}" for number in range(20)]


async def test_what_is_not_taken_is_a_fault_that_says_why_and_disturbs_nobody(both: Both) -> None:
    url, (untaken, why) = both.side.queue(), await trio.to_thread.run_sync(both.side.untaken)
    faults: list[str] = []

    async def try_in_vain(number: int) -> None:
        with pytest.raises(QueueFault) as caught:
            await both.publish(untaken, number)
        faults.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(try_in_vain, number)
            nursery.start_soon(both.publish, url, number)
    assert len(faults) == 20
    for fault in faults:
        assert parse_queue_url(untaken).shown in fault
        assert why in fault
    assert len(await both.received(url)) == 20


def test_every_broker_can_be_opened_and_is_tested() -> None:
    assert set(OPENERS) == set(BROKERS) == set(SIDES)


@pytest.mark.parametrize("name", list(BROKERS))
async def test_nobody_at_the_port_is_a_fault_without_the_password(name: str) -> None:
    example = (
        BROKERS[name].example.replace("://host", "://ann:geheim-7391@127.0.0.1").replace(f":{BROKERS[name].port}", ":1")
    )
    async with Queues() as queues:
        with pytest.raises(QueueFault, match="cannot be reached") as caught:
            await queues.publish(message(example))
    assert "127.0.0.1:1/" in str(caught.value)
    assert_kept_secret(caught.value)


@pytest.mark.parametrize("name", list(SIDES))
async def test_a_wrong_password_is_a_fault_that_says_so_and_not_the_password(name: str) -> None:
    url = SIDES[name].shared().queue()
    scheme, _, rest = url.partition("://")
    wrong = f"{scheme}://ann:geheim-7391@{rest.rpartition('@')[2]}"
    async with Queues() as queues:
        with pytest.raises(QueueFault, match="check user and password") as caught:
            await queues.publish(message(wrong))
    assert_kept_secret(caught.value)


def assert_kept_secret(fault: QueueFault) -> None:
    """Neither the text nor what would be journaled with it holds the password."""
    assert "geheim" not in str(fault)
    assert fault.__cause__ is None
    assert fault.__suppress_context__ or fault.__context__ is None


async def test_a_broker_that_accepts_and_says_nothing_is_given_up(nursery: trio.Nursery) -> None:
    async def say_nothing(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    listeners = await nursery.start(trio.serve_tcp, say_nothing, 0)
    port = listeners[0].socket.getsockname()[1]
    async with Queues(QueueLimits(connect_s=0.2)) as queues:
        for broker in BROKERS.values():
            url = broker.example.replace(f"host:{broker.port}", f"127.0.0.1:{port}")
            with pytest.raises(QueueFault, match="cannot be reached"), trio.fail_after(PUBLISHED_MAX_S):
                await queues.publish(message(url))
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", list(SIDES))
async def test_connections_beyond_the_limit_wait_and_the_oldest_unused_goes(name: str) -> None:
    side = SIDES[name].shared()
    url = side.queue()
    host = f"127.0.0.1:{parse_queue_url(url).port}"
    other = url.replace(host, host.replace("127.0.0.1", "localhost"))
    async with Queues(QueueLimits(connections_max=1)) as queues:
        both = Both(queues, side)
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(both.publish, (url, other)[number % 2], number)
    assert len(await both.received(url)) == 40


async def test_without_the_library_a_message_is_a_fault_that_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide_libraries(monkeypatch)
    async with Queues() as queues:
        for broker in BROKERS.values():
            with pytest.raises(QueueFault, match=rf"pip install 'flowtx\[{broker.extra}\]'"):
                await queues.publish(message(broker.example))


async def test_a_cancelled_message_leaves_the_connection_for_others() -> None:
    side = next(iter(SIDES.values())).shared()
    url = side.queue()
    async with Queues() as queues:
        both = Both(queues, side)
        for number in range(50):
            with trio.move_on_after(0.0005 * number):
                await both.publish(url, number)
        await both.publish(url, 99)
    assert (await both.received(url))[-1].message_id == "g/99"


async def test_after_its_end_nothing_is_sent() -> None:
    async with Queues() as queues:
        pass
    with pytest.raises(QueueFault, match="the engine is shutting down"):
        await queues.publish(message("redis://h/0/x"))
