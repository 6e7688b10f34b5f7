"""Real brokers that are killed, or hang, under those who send to them: they are found again when they are back."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import trio

from flowtx_dsl.queues import parse_queue_url
from flowtx_engine.calls.queue_types import QueueFault
from flowtx_engine.calls.queues import QueueLimits, Queues
from tests.brokers.both import PUBLISHED_MAX_S, Both, was_taken
from tests.brokers.side import own_broker
from tests.brokers.sides import SIDES


@pytest.mark.parametrize("name", list(SIDES))
async def test_a_broker_that_was_killed_is_found_again(name: str, tmp_path: Path) -> None:
    with own_broker(SIDES[name], tmp_path) as broker:
        async with AsyncExitStack() as stack:
            side = await trio.to_thread.run_sync(broker.start)
            both = Both(await stack.enter_async_context(Queues()), side)
            url = await trio.to_thread.run_sync(side.queue)
            await both.publish(url, 1)
            await trio.to_thread.run_sync(broker.kill)
            for _ in range(2):  # the connection that was open, and one that cannot be opened
                with pytest.raises(QueueFault, match=r"cannot be reached|did not confirm") as caught:
                    await both.publish(url, 2)
                assert parse_queue_url(url).shown in str(caught.value)
            await trio.to_thread.run_sync(broker.start)
            with trio.fail_after(PUBLISHED_MAX_S):
                while not await was_taken(both, url, 3):  # noqa: ASYNC110 - seen through a socket
                    await trio.sleep(0.05)
            assert {each.message_id for each in await both.received(url)} >= {"g/1", "g/3"}


@pytest.mark.parametrize("name", list(SIDES))
async def test_a_broker_that_hangs_is_given_up_by_each_message_and_taken_up_again(name: str, tmp_path: Path) -> None:
    with own_broker(SIDES[name], tmp_path) as broker:
        side = await trio.to_thread.run_sync(broker.start)
        url = await trio.to_thread.run_sync(side.queue)
        async with Queues(QueueLimits(silence_s=1)) as queues:
            both = Both(queues, side)
            await both.publish(url, 1)
            broker.stop()
            is_given_up = False
            for number in range(2, 50):  # a signal takes a moment to reach all threads of a broker
                with trio.move_on_after(0.5) as scope:
                    await both.publish(url, number)
                if is_given_up := scope.cancelled_caught:
                    break
            assert is_given_up
            # Long enough for a connection to be taken for lost; whether it is, the next message finds a way.
            with trio.move_on_after(3), suppress(QueueFault):
                await both.publish(url, 98)
            broker.go_on()
            with trio.fail_after(PUBLISHED_MAX_S):
                while not await was_taken(both, url, 99):  # noqa: ASYNC110 - seen through a socket
                    await trio.sleep(0.05)
        assert {each.message_id for each in await both.received(url)} >= {"g/1", "g/99"}
