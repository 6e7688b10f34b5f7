"""Messages to streams in Redis: one XADD each, which Redis answers when it has the entry.

How durable that is, is up to the server: with ``appendfsync always`` it is on disk then.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from flowtx_dsl.queues import QueueAddress
from flowtx_engine.calls.queue_types import QueueFault, QueueMessage
from flowtx_engine.calls.queues import QueueLimits

CONNECTIONS_MAX = 16
"""The most connections to one server: each carries one command at a time."""
BODY = "body"
"""The field of an entry that holds the message; the others are its headers."""


class _RedisStreams:
    """A pool of connections to one database; it opens by itself what was lost."""

    is_lost = False

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def publish(self, message: QueueMessage) -> None:
        """See ``Connection.publish``."""
        (key,) = message.address.place
        entry: dict[Any, Any] = {**dict(message.headers), BODY: message.body}
        try:
            await self._client.xadd(key, entry)
        except NoPermissionError as error:
            raise QueueFault(f"Redis does not let this user add to the stream ({error}); grant it") from None
        except ResponseError as error:
            raise QueueFault(f"Redis did not take the message: {error}") from None

    async def close(self) -> None:
        """See ``Connection.close``."""
        await self._client.aclose()


async def open_redis(address: QueueAddress, limits: QueueLimits) -> _RedisStreams:
    """The streams of one database, after it has answered once."""
    kind: dict[str, Any] = {"connection_class": SSLConnection} if address.is_tls else {}
    pool = BlockingConnectionPool(
        max_connections=CONNECTIONS_MAX,
        timeout=None,  # a message waits for a connection as long as its step may take
        host=address.host,
        port=address.port,
        db=int(address.realm),
        username=address.user or None,
        password=address.password,
        socket_connect_timeout=limits.connect_s,
        socket_keepalive=True,
        health_check_interval=limits.silence_s,
        retry=Retry(NoBackoff(), 0),  # the step is tried again, and says so in the journal
        **kind,
    )
    client = Redis.from_pool(pool)
    untyped: Any = client
    try:
        await untyped.ping()
    except AuthenticationError as error:
        await client.aclose()
        raise QueueFault(f"Redis does not let this user in ({error}); check user and password in the URL") from None
    except BaseException:
        await client.aclose()
        raise
    return _RedisStreams(client)
