"""Streams in a real NATS JetStream."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StreamConfig
from nats.js.errors import NotFoundError

from tests.brokers.side import Full, Received, Side

T = TypeVar("T")
USER = PASSWORD = "flowtx"


class NatsSide(Side):
    """A NATS server with JetStream; its URL ends with the port."""

    variable = "FLOWTX_TEST_NATS_URL"
    program = "nats-server"
    package = "nats-server"
    tls: ssl.SSLContext | None = None

    def make_queue(self, name: str) -> str:
        self._run(lambda stream: _untyped(stream).add_stream(name=name, subjects=[f"{name}.new"]))
        return f"{self.url}/{name}.new"

    def untaken(self) -> tuple[str, str]:
        return f"{self.url}/nobody.listens", "no stream of JetStream takes the subject nobody.listens"

    def full(self) -> Full:
        url = self.queue()
        subject = urlsplit(url).path.removeprefix("/")
        name = subject.removesuffix(".new")
        config = StreamConfig(name=name, subjects=[subject], max_msgs=1, discard=DiscardPolicy.NEW)

        async def fill(stream: JetStreamContext) -> None:
            await _untyped(stream).update_stream(config)
            await stream.publish(subject, b"the one there is room for")

        def make_room() -> None:
            self._run(lambda stream: stream.purge_stream(name))

        self._run(fill)
        return Full(url, "maximum messages exceeded", make_room)

    def received(self, url: str) -> list[Received]:
        subject = urlsplit(url).path.removeprefix("/")

        async def read(stream: JetStreamContext) -> list[Received]:
            name = await stream.find_stream_name_by_subject(subject)
            state = (await stream.stream_info(name)).state
            found: list[Received] = []
            for seq in range(max(1, state.first_seq), state.last_seq + 1):
                try:
                    message = await stream.get_msg(name, seq)
                except NotFoundError:
                    continue
                headers: dict[str, str] = dict(_untyped(message).headers)
                found.append(Received(headers["Nats-Msg-Id"], headers, message.data or b""))
            return found

        return self._run(read)

    @classmethod
    def command(cls, port: int, folder: Path) -> list[str]:
        where = ["--addr", "127.0.0.1", "--port", str(port), "--store_dir", str(folder)]
        return [cls.program, "--jetstream", *where, "--user", USER, "--pass", PASSWORD]

    @classmethod
    def at(cls, port: int) -> NatsSide:
        return cls(f"nats://{USER}:{PASSWORD}@127.0.0.1:{port}")

    def is_up(self) -> bool:
        try:
            self._run(lambda stream: stream.account_info())
        except (OSError, nats.errors.Error):
            return False
        return True

    def _run(self, what: Callable[[JetStreamContext], Awaitable[T]]) -> T:
        async def main() -> T:
            client = Client()
            await client.connect(self.url, allow_reconnect=False, error_cb=_say_nothing, tls=self.tls)
            try:
                return await what(JetStreamContext(client, timeout=30))
            finally:
                await client.close()

        return asyncio.run(main())


def _untyped(something: object) -> Any:
    """What the library types in part."""
    return something


async def _say_nothing(error: Exception) -> None:
    logging.getLogger(__name__).debug("NATS: %s", error)
