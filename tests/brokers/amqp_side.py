"""Queues in a real RabbitMQ."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiormq
from aiormq.abc import AbstractChannel

from tests.brokers.side import Full, Received, Side

T = TypeVar("T")
ENDED_MAX_S = 10
HOME = "/usr/lib/rabbitmq/bin"
"""Where Debian has the scripts that may be run by anybody; those on the path insist on a user of their own."""


class AmqpSide(Side):
    """A RabbitMQ; its URL ends with the port, and queues are reached over the default exchange."""

    variable = "FLOWTX_TEST_AMQP_URL"
    program = f"{HOME}/rabbitmq-server"
    package = "rabbitmq-server"

    def make_queue(self, name: str) -> str:
        self._run(lambda channel: channel.queue_declare(name, durable=True))
        return f"{self.url}/%2F//{name}"

    def untaken(self) -> tuple[str, str]:
        return f"{self.url}/%2F//nobody-listens", "no queue takes what goes to the default exchange"

    def full(self) -> Full:
        name = f"flowtx-{secrets.token_hex(6)}"
        arguments: Any = {"x-max-length": 1, "x-overflow": "reject-publish"}

        async def fill(channel: AbstractChannel) -> None:
            await channel.queue_declare(name, durable=True, arguments=arguments)
            await channel.basic_publish(b"the one there is room for", routing_key=name)

        def make_room() -> None:
            self._run(lambda channel: channel.queue_purge(name))

        self._run(fill)
        return Full(f"{self.url}/%2F//{name}", "a queue is full or broken", make_room)

    def received(self, url: str) -> list[Received]:
        """Nothing is acknowledged, so that all goes back when the connection is closed."""
        name = urlsplit(url).path.rpartition("/")[2]

        async def read(channel: AbstractChannel) -> list[Received]:
            found: list[Received] = []
            while (message := await channel.basic_get(name, no_ack=False)).body or message.header.body_size == 0:
                properties = message.header.properties
                if properties.message_id is None:  # there is no message any more
                    break
                headers = {str(key): str(value) for key, value in (properties.headers or {}).items()}
                assert properties.delivery_mode == 2, "a message that would not survive the broker"
                found.append(Received(properties.message_id, headers, message.body))
            return found

        return self._run(read)

    @classmethod
    def command(cls, port: int, folder: Path) -> list[str]:
        second, third = _free_ports(2)
        (folder / "epmd-port").write_text(str(third))
        (folder / "plugins").write_text("[].")
        (folder / "rabbitmq.conf").write_text("loopback_users.guest = true\n")
        settings = {
            "HOME": folder,
            "RABBITMQ_NODENAME": f"flowtx-{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": port,
            "RABBITMQ_DIST_PORT": second,
            "RABBITMQ_MNESIA_BASE": folder / "mnesia",
            "RABBITMQ_LOG_BASE": folder / "logs",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins",
            "RABBITMQ_CONFIG_FILE": folder / "rabbitmq",
            "ERL_EPMD_PORT": third,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        return ["env", *(f"{name}={value}" for name, value in settings.items()), cls.program]

    @classmethod
    def end(cls, folder: Path) -> None:
        """Erlang's name server outlives its last node."""
        if (epmd := shutil.which("epmd")) and (folder / "epmd-port").exists():
            environ = {**os.environ, "ERL_EPMD_PORT": (folder / "epmd-port").read_text()}
            until = time.monotonic() + ENDED_MAX_S
            # It refuses while it has not yet noticed that its node is gone.
            while subprocess.run([epmd, "-names"], env=environ, capture_output=True, check=False).returncode == 0:
                subprocess.run([epmd, "-kill"], env=environ, capture_output=True, check=False)
                assert time.monotonic() < until, "epmd does not end"
                time.sleep(0.02)

    @classmethod
    def at(cls, port: int) -> AmqpSide:
        return cls(f"amqp://guest:guest@127.0.0.1:{port}")

    def is_up(self) -> bool:
        try:
            self._run(lambda channel: channel.basic_qos(prefetch_count=1))
        except (OSError, aiormq.AMQPError):
            return False
        return True

    def _run(self, what: Callable[[AbstractChannel], Awaitable[T]]) -> T:
        async def main() -> T:
            connection = await aiormq.connect(self.url)
            try:
                return await what(await connection.channel())
            finally:
                await connection.close()

        return asyncio.run(main())


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
