"""What is particular to AMQP: exchanges, and what of them may be missing."""

from __future__ import annotations

import asyncio
import secrets

import aiormq
import pytest
import trio

from flowtx_dsl.queues import parse_queue_url
from flowtx_engine.calls.queue_types import QueueFault, QueueMessage
from flowtx_engine.calls.queues import Queues
from tests.brokers.amqp_side import AmqpSide


def message(url: str, number: int = 0) -> QueueMessage:
    key = f"g/{number}"
    headers = (("idempotency-key", key),)
    return QueueMessage(address=parse_queue_url(url), message_id=key, headers=headers, body=b"{}")


async def bind(url: str, exchange: str, queue: str, pattern: str) -> None:
    """A topic exchange, and a queue that takes what fits a pattern."""

    async def main() -> None:
        connection = await aiormq.connect(url)
        channel = await connection.channel()
        await channel.exchange_declare(exchange, exchange_type="topic", durable=True)
        await channel.queue_bind(queue, exchange, pattern)
        await connection.close()

    await trio.to_thread.run_sync(asyncio.run, main())


async def test_an_exchange_routes_by_key_and_returns_what_no_queue_takes() -> None:
    side = AmqpSide.shared()
    queue = await trio.to_thread.run_sync(side.queue)
    exchange = f"flowtx {secrets.token_hex(4)}"
    await bind(side.url, exchange, queue.rpartition("/")[2], "orders.*")
    spelled = exchange.replace(" ", "%20")
    async with Queues() as queues:
        await queues.publish(message(f"{side.url}/%2F/{spelled}/orders.new", 1))
        with pytest.raises(QueueFault, match=r"with the routing key 'bills\.new'; declare one"):
            await queues.publish(message(f"{side.url}/%2F/{spelled}/bills.new", 2))
    assert [each.message_id for each in await trio.to_thread.run_sync(side.received, queue)] == ["g/1"]


async def test_an_exchange_that_is_not_there_disturbs_no_other() -> None:
    side = AmqpSide.shared()
    queue = await trio.to_thread.run_sync(side.queue)
    faults: list[str] = []
    async with Queues() as queues:

        async def publish_nowhere(number: int) -> None:
            with pytest.raises(QueueFault) as caught:
                await queues.publish(message(f"{side.url}/%2F/nowhere/x", number))
            faults.append(str(caught.value))

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(publish_nowhere, number)
                nursery.start_soon(queues.publish, message(queue, number))
    assert len(faults) == 30
    assert all("no exchange 'nowhere' in vhost '/'" in fault and "declare it" in fault for fault in faults), set(faults)
    assert len(await trio.to_thread.run_sync(side.received, queue)) == 30


async def test_a_virtual_host_that_is_not_there_is_named() -> None:
    side = AmqpSide.shared()
    async with Queues() as queues:
        with pytest.raises(QueueFault, match="did not open the virtual host 'shop': it is not there") as caught:
            await queues.publish(message(f"{side.url}/shop/exchange/key"))
    assert "***@" in str(caught.value)
    assert "guest:guest" not in str(caught.value)


async def test_there_may_be_more_exchanges_than_channels() -> None:
    side = AmqpSide.shared()
    queue = await trio.to_thread.run_sync(side.queue)
    name = queue.rpartition("/")[2]
    exchanges = [f"{name}-{number}" for number in range(70)]
    for exchange in exchanges:
        await bind(side.url, exchange, name, "x")
    async with Queues() as queues, trio.open_nursery() as nursery:
        for number, exchange in enumerate(exchanges * 2):
            nursery.start_soon(queues.publish, message(f"{side.url}/%2F/{exchange}/x", number))
    assert len(await trio.to_thread.run_sync(side.received, queue)) == 140
