"""What the client wants done, as values: requests to send, and functions of the user to run (spec 10).

The law of this file: an exchange is a generator that yields what it needs, is sent what came of it or thrown the error,
and returns its result or raises. It knows no socket, clock or thread, so one body serves threads, trio and asyncio.
What needs several requests (a message's preparation, its business, its submit) is a longer generator, not another
driver.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

GRPC = "grpc://"
"""How the address of a server, and a call's URL, say that gRPC is spoken there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequest:
    """One request; ``url`` is absolute. ``timeout_s`` is the longest wait for the network's next sign of life.

    A URL ``grpc://host:port/Service/Method`` is a unary call over gRPC: ``method`` is then ``CALL``, ``headers`` the
    metadata and ``body`` the message; ``timeout_s`` is all the time that it has.

    ``is_last_word``: sent though its task is cancelled, and given up after ``timeout_s`` in all.
    """

    method: str
    url: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float
    is_last_word: bool = False

    @property
    def is_grpc(self) -> bool:
        """True for a call over gRPC."""
        return self.url.startswith(GRPC)

    @property
    def all_headers(self) -> dict[str, str]:
        """Its headers, and the type of the body, unless they name one themselves."""
        headers = dict(self.headers)
        if self.body and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json"
        return headers


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAnswer:
    """One whole answer, whatever its status: HTTP's number, or gRPC's, where 0 is OK and ``details`` say the rest."""

    status: int
    body: bytes
    details: str = ""


@dataclass(frozen=True, slots=True)
class Perform:
    """A function of the user's to be run; the driver for event loops awaits what it returns."""

    run: Callable[[], object]


Exchange = Generator[ClientRequest | Perform, object, T]


def ask(request: ClientRequest) -> Exchange[ClientAnswer]:
    """Send a request; raises ``ServerUnreachable`` where no whole answer was had."""
    answer = yield request
    assert isinstance(answer, ClientAnswer), answer
    return answer


def perform(run: Callable[[], object]) -> Exchange[object]:
    """Run a function of the user's; raises what it raises."""
    return (yield Perform(run))
