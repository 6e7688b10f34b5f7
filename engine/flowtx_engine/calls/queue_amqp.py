"""Messages to exchanges over AMQP 0-9-1, as RabbitMQ speaks it: persistent, mandatory, and confirmed by the broker.

A confirmation comes when every queue that the message was routed to has it, the durable ones on disk. One that no queue
takes is returned first. An exchange that is not there ends its channel, so each exchange has a channel of its own.
"""

from __future__ import annotations

import asyncio
import logging
import ssl

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection
from pamqp.commands import Basic
from yarl import URL

from flowtx_dsl.queues import QueueAddress
from flowtx_engine.calls.queue_sharing import Shared
from flowtx_engine.calls.queue_types import QueueFault, QueueMessage
from flowtx_engine.calls.queues import QueueLimits

CHANNELS_MAX = 64
"""The most exchanges of one connection that are written to at once; RabbitMQ allows 2,047 channels."""
PERSISTENT = 2
"""The delivery mode of messages that survive the broker."""
GUEST = "guest"
"""The user, and the password, of URLs that name none (the URI specification of RabbitMQ)."""


logger = logging.getLogger("aiormq")
if logger.level == logging.NOTSET:
    # It calls every attempt to connect an error, and every connection that ends: the step says so, too, and better.
    logger.setLevel(logging.CRITICAL)


class _Channel:
    """A channel that confirms, for one exchange.

    An exchange that is not there, or may not be written to, ends the channel with the first message. The library would
    send on it what others have begun meanwhile, and the broker would end the whole connection: so the first goes alone.
    """

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._first = asyncio.Lock()
        self._is_ready = False
        self._ended_by: aiormq.AMQPError | None = None
        self._under_way: dict[str, asyncio.Event] = {}

    @property
    def is_lost(self) -> bool:
        """See ``Lossy.is_lost``."""
        return self._channel.is_closed

    async def publish(self, message: QueueMessage) -> None:
        """Return when the broker has confirmed it; raises the library's errors."""
        if not self._is_ready:
            async with self._first:
                if not self._is_ready:
                    await self._publish_first(message)
                    return
        await self._publish(message)

    async def _publish_first(self, message: QueueMessage) -> None:
        if self._ended_by is not None:
            raise self._ended_by  # what ended it for one ends it for all
        try:
            await self._publish(message)
        except aiormq.AMQPError as error:
            if self.is_lost:
                self._ended_by = error
                raise
            self._is_ready = True
            raise
        self._is_ready = True

    async def _publish(self, message: QueueMessage) -> None:
        # The library tells by its id which message was returned, so of two with one id it would confirm the wrong one.
        while (other := self._under_way.get(message.message_id)) is not None:
            await other.wait()
        over = self._under_way[message.message_id] = asyncio.Event()
        try:
            await self._publish_alone(message)
        finally:
            del self._under_way[message.message_id]
            over.set()

    async def _publish_alone(self, message: QueueMessage) -> None:
        exchange, key = message.address.place
        properties = Basic.Properties(
            delivery_mode=PERSISTENT, message_id=message.message_id, headers=dict(message.headers)
        )
        await self._channel.basic_publish(
            message.body, exchange=exchange, routing_key=key, properties=properties, mandatory=True
        )

    async def close(self) -> None:
        """See ``Lossy.close``."""
        await self._channel.close()


class _Exchanges:
    """One connection to a virtual host, which is made once and not again: the next message opens another."""

    def __init__(self, connection: AbstractConnection, limits: QueueLimits) -> None:
        self._connection = connection
        self._channels = Shared[_Channel](count_max=CHANNELS_MAX, close_s=limits.close_s)

    @property
    def is_lost(self) -> bool:
        """See ``Lossy.is_lost``."""
        return not self._connection.is_opened

    async def publish(self, message: QueueMessage) -> None:
        """See ``Connection.publish``."""
        exchange, key = message.address.place
        where = f"the exchange {exchange!r}" if exchange else "the default exchange"
        try:
            async with self._channels.use(exchange, self._open) as held:
                await held.publish(message)
        except aiormq.PublishError:
            raise QueueFault(
                f"the broker returned the message, because no queue takes what goes to {where} with the routing key "
                f"{key!r}; declare one and bind it"
            ) from None
        except aiormq.DeliveryError:
            raise QueueFault(
                f"the broker refused to keep the message that went to {where} with the routing key {key!r}: a queue is "
                "full or broken; make room"
            ) from None
        except aiormq.ChannelNotFoundEntity as error:
            raise QueueFault(f"{error}; declare it") from None
        except aiormq.ChannelAccessRefused as error:
            raise QueueFault(f"the broker does not let this user publish there ({error}); grant it") from None

    async def _open(self) -> _Channel:
        return _Channel(await self._connection.channel(publisher_confirms=True, on_return_raises=True))

    async def close(self) -> None:
        """See ``Lossy.close``."""
        await self._connection.close()


async def open_amqp(address: QueueAddress, limits: QueueLimits) -> _Exchanges:
    """A connection to a virtual host, whose silence ends it."""
    url = URL.build(
        scheme="amqps" if address.is_tls else "amqp",
        user=GUEST if address.user is None else address.user,
        password=GUEST if address.password is None else address.password,
        host=address.host,
        port=address.port,
        path=f"/{address.realm}",
        query={"name": "flowtx", "heartbeat": str(max(1, round(limits.silence_s)))},
    )
    try:
        connection = await aiormq.connect(url, context=ssl.create_default_context() if address.is_tls else None)
    except (aiormq.ProbableAuthenticationError, aiormq.AuthenticationError) as error:
        raise QueueFault(f"it does not let this user in ({error}); check user and password in the URL") from None
    except aiormq.InvalidFrameError:  # the library reads no reason where the broker gives one
        raise QueueFault(
            f"the broker did not open the virtual host {address.realm!r}: it is not there, this user may not enter it, "
            "or it has too many connections"
        ) from None
    return _Exchanges(connection, limits)
