"""The queues of the simulated world, which must do what real brokers do."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from flowtx.testing.participants import Participants
from tests.brokers.side import Full, Received, Side


class FakeSide(Side):
    """The queue side of ``Participants``."""

    def __init__(self) -> None:
        super().__init__("redis://fake/0")
        self.network = Participants(delay_s=0.0)

    def make_queue(self, name: str) -> str:
        return f"{self.url}/{name}"

    def untaken(self) -> tuple[str, str]:
        url = self.queue()
        self.network.script(urlsplit(url).path, [], then="break")
        return url, "did not take the message"

    def full(self) -> Full:
        raise AssertionError("the fake has room")

    def received(self, url: str) -> list[Received]:
        return [
            Received(each.message_id, dict(each.headers), each.body)
            for each in self.network.messages
            if each.address.shown == url
        ]

    @classmethod
    def command(cls, port: int, folder: Path) -> list[str]:
        raise AssertionError("the fake runs in no process")

    @classmethod
    def at(cls, port: int) -> FakeSide:
        raise AssertionError("the fake is on no port")

    def is_up(self) -> bool:
        return True
