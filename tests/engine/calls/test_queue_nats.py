"""What is particular to NATS: streams that know an id, users who may not publish, services that are no stream."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from flowtx_dsl.queues import parse_queue_url
from flowtx_engine.calls.queue_types import QueueFault, QueueMessage
from flowtx_engine.calls.queues import Queues
from tests.brokers.nats_side import NatsSide
from tests.brokers.side import own_broker

CONFIG = """
jetstream { store_dir: "%s" }
authorization {
  users = [
    { user: flowtx, password: flowtx },
    { user: guest, password: geheim-7391, permissions: { publish: { deny: "secret.>" } } },
  ]
}
"""


def message(url: str, number: int = 0, **headers: str) -> QueueMessage:
    key = f"g/{number}"
    own = (("idempotency-key", key), *headers.items())
    return QueueMessage(address=parse_queue_url(url), message_id=key, headers=own, body=b"{}")


async def test_a_stream_drops_a_repeat_and_that_is_a_success() -> None:
    side = NatsSide.shared()
    url = await trio.to_thread.run_sync(side.queue)
    async with Queues() as queues:
        for number in (1, 1, 2, 1):
            await queues.publish(message(url, number))
    found = await trio.to_thread.run_sync(side.received, url)
    assert [each.message_id for each in found] == ["g/1", "g/2"]


class Restricted(NatsSide):
    """A server with a user who may not publish everything."""

    @classmethod
    def command(cls, port: int, folder: Path) -> list[str]:
        (folder / "config").write_text(CONFIG % folder)
        return [cls.program, "--addr", "127.0.0.1", "--port", str(port), "--config", str(folder / "config")]


async def test_a_subject_that_is_not_allowed_is_a_fault_at_once_and_others_go_on(tmp_path: Path) -> None:
    with own_broker(Restricted, tmp_path) as broker:
        side = await trio.to_thread.run_sync(broker.start)
        url = await trio.to_thread.run_sync(side.queue)
        guest = url.replace("flowtx:flowtx@", "guest:geheim-7391@")
        denied = guest.rpartition("/")[0] + "/secret.plan"
        async with Queues() as queues:
            await queues.publish(message(guest, 1))
            with trio.fail_after(20), pytest.raises(QueueFault, match="does not let this user publish there") as caught:
                await queues.publish(message(denied, 2))
            assert "geheim" not in str(caught.value)
            await queues.publish(message(guest, 3))
        assert len(await trio.to_thread.run_sync(side.received, url)) == 2


async def test_a_message_longer_than_the_broker_takes_is_a_fault_that_says_so() -> None:
    side = NatsSide.shared()
    url = await trio.to_thread.run_sync(side.queue)
    async with Queues() as queues:
        long = QueueMessage(address=parse_queue_url(url), message_id="g/0", body=bytes(2 * 1024 * 1024))
        with pytest.raises(QueueFault, match="maximum payload"):
            await queues.publish(long)
        await queues.publish(message(url, 1))
    assert len(await trio.to_thread.run_sync(side.received, url)) == 1
