"""Streams in a real Redis."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from tests.brokers.side import Full, Received, Side

UNTYPED: Any = redis.Redis


class RedisSide(Side):
    """A Redis; its URL ends with the database."""

    variable = "FLOWTX_TEST_REDIS_URL"
    program = "redis-server"
    package = "redis-server"
    fills_a_queue = False

    def make_queue(self, name: str) -> str:
        return f"{self.url}/{name}"

    def untaken(self) -> tuple[str, str]:
        url = self.queue()
        with closing(self._client()) as client:
            client.set(_key(url), "no stream", ex=600)
        return url, "Redis did not take the message: WRONGTYPE"

    def full(self) -> Full:
        self._configure("maxmemory", "1")
        return Full(
            self.queue(),
            "command not allowed when used memory > 'maxmemory'",
            lambda: self._configure("maxmemory", "0"),
        )

    def _configure(self, name: str, value: str) -> None:
        with closing(self._client()) as client:
            client.config_set(name, value)

    def received(self, url: str) -> list[Received]:
        with closing(self._client()) as client:
            found = client.xrange(_key(url))
        return [_received(entry) for _, entry in found]

    @classmethod
    def command(cls, port: int, folder: Path) -> list[str]:
        where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        return [cls.program, *where, "--save", "", "--appendonly", "yes", "--appendfsync", "always"]

    @classmethod
    def at(cls, port: int) -> RedisSide:
        return cls(f"redis://127.0.0.1:{port}/0")

    def is_up(self) -> bool:
        with closing(self._client()) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def _client(self) -> Any:
        return UNTYPED.from_url(self.url)


def _key(url: str) -> str:
    return urlsplit(url).path.split("/")[2]


def _received(entry: dict[bytes, bytes]) -> Received:
    headers = {name.decode(): value.decode() for name, value in entry.items() if name != b"body"}
    return Received(headers["idempotency-key"], headers, entry[b"body"])
