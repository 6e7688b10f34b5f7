"""Messages to NATS JetStream: each is published, and acknowledged when a stream has stored it.

The header ``Nats-Msg-Id`` is the message's id, so a stream drops a repeat within its duplicate window.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from flowtx_dsl.queues import QueueAddress
from flowtx_engine.calls.queue_types import QueueFault, QueueMessage
from flowtx_engine.calls.queues import QueueLimits

ACKNOWLEDGED_MAX_S = 24 * 3600.0
"""The library wants a limit; the one that counts is the step's, by which a message is cancelled."""


class _JetStream:
    """One connection; nothing the library raises of itself comes to those who wait, so they are told here."""

    def __init__(self) -> None:
        self.client = Client()
        self._stream = JetStreamContext(self.client, timeout=ACKNOWLEDGED_MAX_S)
        self.is_open = False
        self._waiting: dict[asyncio.Future[None], str] = {}
        self._trouble = ""
        self._first = asyncio.Lock()
        self._is_ready = False

    @property
    def is_lost(self) -> bool:
        """See ``Lossy.is_lost``."""
        return not self.client.is_connected

    async def publish(self, message: QueueMessage) -> None:
        """See ``Connection.publish``."""
        if self._is_ready:
            await self._publish(message)
            return
        # The first one alone: with it the library subscribes to its answers, and others would be sent before that.
        async with self._first:
            try:
                await self._publish(message)
            finally:
                self._is_ready = True

    async def _publish(self, message: QueueMessage) -> None:
        (subject,) = message.address.place
        headers = {"Nats-Msg-Id": message.message_id, **dict(message.headers)}
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[told] = subject
        publishing = asyncio.create_task(self._stream.publish(subject, message.body, headers=headers))
        try:
            await asyncio.wait((publishing, told), return_when=asyncio.FIRST_COMPLETED)
            if told.done():
                told.result()
            publishing.result()
        except nats.js.errors.NoStreamResponseError:
            raise QueueFault(
                f"no stream of JetStream takes the subject {subject}, so the message was not stored; add one: "
                f"nats stream add --subjects {subject}"
            ) from None
        except nats.js.errors.APIError as error:
            raise QueueFault(f"the stream did not take the message: {error.description} ({error.err_code})") from None
        except (ValueError, TypeError, KeyError):  # no JSON, or another
            raise QueueFault(
                f"what answered on the subject {subject} is no JetStream; expected a stream, and no other service"
            ) from None
        finally:
            publishing.cancel()
            told.cancel()
            del self._waiting[told]

    async def hear_trouble(self, error: Exception) -> None:
        """The broker or the connection has complained: of a subject that is not allowed, or of everything."""
        if not self.is_open:
            raise error  # ends the attempt to connect, which the library would repeat for ever
        self._trouble = str(error) or repr(error)
        for told, subject in self._waiting.items():
            if f'"{subject}"' in self._trouble:
                _tell(told, f"NATS does not let this user publish there ({self._trouble}); grant it")

    async def hear_end(self) -> None:
        """The connection is closed."""
        why = self._trouble or "it was closed"
        for told in self._waiting:
            _tell(told, f"the connection was lost before the message was confirmed ({why})")

    async def close(self) -> None:
        """See ``Lossy.close``."""
        await self.client.close()


def _tell(told: asyncio.Future[None], what: str) -> None:
    if not told.done():
        told.set_exception(QueueFault(what))


class _Tls(ssl.SSLContext):
    """A context that knows whether it came to be used.

    The library speaks in plain text, whatever the URL says, with a server that does not insist on TLS.
    """

    was_used = False

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """What asyncio calls for a connection; it returns to the library when the certificate has been checked."""
        self.was_used = True
        return super().wrap_bio(*args, **options)

    def check_used(self) -> None:
        """Raise ``QueueFault`` where whatever came next would be sent in plain text."""
        if not self.was_used:
            raise QueueFault(
                "the URL asks for TLS and NATS there does not, so nothing was sent; let it, or write nats://"
            )


def _only_over(tls: _Tls | None, secret: str | None) -> Callable[[], str] | None:
    """A secret as the library asks for it, just before it is sent."""
    if secret is None:
        return None

    def give() -> str:
        if tls is not None:
            tls.check_used()
        return secret

    return give


async def open_nats(address: QueueAddress, limits: QueueLimits) -> _JetStream:
    """A connection that is made once and not again: the next message opens another."""
    stream, tls = _JetStream(), None
    if address.is_tls:
        tls = _Tls(ssl.PROTOCOL_TLS_CLIENT)
        tls.load_default_certs()
    is_token = address.password is None  # as NATS reads its own URLs
    try:
        await stream.client.connect(
            f"{'tls' if tls else 'nats'}://{address.server}",
            name="flowtx",
            user=None if is_token else _only_over(tls, address.user),
            password=_only_over(tls, address.password),
            token=_only_over(tls, address.user) if is_token else None,
            tls=tls,
            allow_reconnect=False,
            connect_timeout=max(1, round(limits.connect_s)),
            ping_interval=max(1, round(limits.silence_s / 2)),
            max_outstanding_pings=2,
            error_cb=stream.hear_trouble,
            closed_cb=stream.hear_end,
        )
        if tls is not None:
            tls.check_used()
    except BaseException as error:
        with suppress(Exception):  # closing half a connection may fail in any way, and take for ever
            await asyncio.wait_for(stream.close(), limits.close_s)
        if isinstance(error, nats.errors.Error) and "uthorization" in str(error):
            raise QueueFault(f"NATS does not let this user in ({error}); check user and password in the URL") from None
        raise
    stream.is_open = True
    return stream
