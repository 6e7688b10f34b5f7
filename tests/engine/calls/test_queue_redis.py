"""What is particular to Redis: its databases, and its users with passwords of every kind."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
import trio

from flowtx_dsl.queues import parse_queue_url
from flowtx_engine.calls.queue_types import QueueFault, QueueMessage
from flowtx_engine.calls.queues import Queues
from tests.brokers.redis_side import RedisSide
from tests.brokers.side import own_broker

PASSWORD = "ge:heim/73 91@ü%"


class Guarded(RedisSide):
    """A Redis with a password for all, and one user who may add to no stream."""

    @classmethod
    def command(cls, port: int, folder: Path) -> list[str]:
        users = f'requirepass "{PASSWORD}"\nuser reader on >geheim-7391 ~* +@read +ping\n'
        (folder / "config").write_text(users)
        program, *options = super().command(port, folder)
        return [program, str(folder / "config"), *options]

    @classmethod
    def at(cls, port: int) -> Guarded:
        return cls(f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/0")


def message(url: str) -> QueueMessage:
    headers = (("idempotency-key", "g/0"),)
    return QueueMessage(address=parse_queue_url(url), message_id="g/0", headers=headers, body=b"{}")


async def test_a_password_of_any_characters_lets_in_and_is_told_nobody(tmp_path: Path) -> None:
    with own_broker(Guarded, tmp_path) as broker:
        side = await trio.to_thread.run_sync(broker.start)
        url = await trio.to_thread.run_sync(side.queue)
        async with Queues() as queues:
            await queues.publish(message(url))
            host = url.rpartition("@")[2]
            for wrong in (f"redis://{host}", f"redis://:geheim-7391@{host}", f"redis://nobody:geheim-7391@{host}"):
                with pytest.raises(QueueFault) as caught:
                    await queues.publish(message(wrong))
                assert "geheim" not in str(caught.value)
            with pytest.raises(QueueFault, match="does not let this user add to the stream") as caught:
                await queues.publish(message(f"redis://reader:geheim-7391@{host}"))
            assert "geheim" not in str(caught.value)
        assert len(await trio.to_thread.run_sync(side.received, url)) == 1


async def test_each_database_has_streams_of_its_own() -> None:
    side = RedisSide.shared()
    base, _, number = side.url.rpartition("/")
    other = RedisSide(f"{base}/{(int(number) + 1) % 16}")
    url = side.queue()
    async with Queues() as queues:
        await queues.publish(message(url))
        await queues.publish(message(url.replace(side.url, other.url)))
    assert [len(each.received(url)) for each in (side, other)] == [1, 1]
