"""Participants: scripted services that keep books, behind the engine's own transports.

The law of this file: a participant acts at most once under one key and writes down everything it was asked, in order,
so that a test can say what really happened and not what the engine believes.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import msgspec
import trio

from flowtx_engine.calls.grpc_types import GrpcRequest, GrpcResponse
from flowtx_engine.calls.http_types import HttpFault, HttpRequest, HttpResponse
from flowtx_engine.calls.queue_types import QueueFault, QueueMessage

Behaviour = Literal["accept", "refuse", "ongoing", "break", "hang", "accept silently"]
"""What a participant does with one call.

``accept`` acts and says so; ``refuse`` says no (409) and does nothing; ``ongoing`` asks to be asked again (425);
``break`` answers 500 and does nothing; ``hang`` never answers and does nothing; ``accept silently`` acts, but its
answer never arrives.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call as it arrived."""

    url: str
    gid: str
    branch_id: str
    op: str
    body: bytes
    behaviour: Behaviour
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """One thing a participant did, once: a branch's op, by the barrier's rules."""

    url: str
    gid: str
    branch_id: str
    op: str


class _JsonRpcCall(msgspec.Struct):
    params: dict[str, object]


_GRPC_STATUSES = {200: "OK", 409: "ABORTED", 425: "FAILED_PRECONDITION", 500: "INTERNAL"}


class Participants:
    """A network of participants: an ``HttpTransport``, ``GrpcTransport`` and ``QueueTransport`` that answers by script.

    A JSON-RPC call is known by its body. ``path`` is the URL's, over gRPC ``/package.Service/Method``. Behind a queue
    stands a consumer that takes each id once; a broker has no other answers than "accept", and all else is a fault.
    """

    def __init__(self, *, delay_s: float = 0.01) -> None:
        """``delay_s`` is how long every call takes, in the world's time."""
        self.delay_s = delay_s
        self.asked: list[Asked] = []
        self.acted: list[Acted] = []
        self.messages: list[QueueMessage] = []
        """What queues have taken, repeats too."""
        self._scripts: defaultdict[str, deque[Behaviour]] = defaultdict(deque)
        self._defaults: dict[str, Behaviour] = {}
        self._seen: set[tuple[str, str, str]] = set()
        self.on_act: Callable[[Acted, HttpRequest], None] = lambda acted, request: None

    def script(self, path: str, behaviours: Iterable[Behaviour], *, then: Behaviour = "accept") -> None:
        """What the participant at a URL path does at its next calls, and after those."""
        self._scripts[path].extend(behaviours)
        self._defaults[path] = then

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Answer a call; raises ``HttpFault`` when the script has the answer lost."""
        parts = urlsplit(request.url)
        facts: Mapping[str, object] = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if b'"jsonrpc"' in request.body:
            facts = msgspec.json.decode(request.body, type=_JsonRpcCall).params
        return await self._hear(f"{parts.scheme}://{parts.netloc}{parts.path}", parts.path, facts, request)

    async def call(self, request: GrpcRequest, *, timeout_s: float) -> GrpcResponse:
        """Answer a call over gRPC; one whose answer is lost ends as such a one does, as UNAVAILABLE."""
        facts = {name.removeprefix("dtm-"): value for name, value in request.metadata}
        headers = tuple((name, str(value)) for name, value in request.metadata)
        url = f"{request.host}{request.method}"
        heard = HttpRequest(method="POST", url=url, headers=headers, body=request.body)
        try:
            response = await self._hear(url, request.method, facts, heard)
        except HttpFault as fault:
            return GrpcResponse(status="UNAVAILABLE", details=str(fault))
        return GrpcResponse(status=_GRPC_STATUSES[response.status], details=response.body.decode())

    async def publish(self, message: QueueMessage) -> None:
        """Take a message for a queue; raises ``QueueFault`` when the script does anything but accept it."""
        facts = {name.removeprefix("dtm-"): value for name, value in message.headers}
        url = message.address.shown
        heard = HttpRequest(method="POST", url=url, headers=message.headers, body=message.body)
        try:
            response = await self._hear(url, urlsplit(url).path, facts, heard)
        except HttpFault as fault:
            raise QueueFault(str(fault)) from fault
        if response.status == 200:
            self.messages.append(message)
        else:
            raise QueueFault(f"{url} did not take the message: {response.body.decode() or response.status} (simulated)")

    async def _hear(self, url: str, path: str, facts: Mapping[str, object], request: HttpRequest) -> HttpResponse:
        await trio.sleep(self.delay_s)
        asked = Asked(
            url=url,
            gid=str(facts.get("gid", "")),
            branch_id=str(facts.get("branch_id", "")),
            op=str(facts.get("op", "")),
            body=request.body,
            behaviour=self._next(path),
            at=trio.current_time(),
        )
        self.asked.append(asked)
        return await self._answer(asked, request)

    def acted_ops(self, gid: str) -> list[str]:
        """What was done for a gid, in order: ``branch_id op``."""
        return [f"{acted.branch_id} {acted.op}" for acted in self.acted if acted.gid == gid]

    def _next(self, path: str) -> Behaviour:
        script = self._scripts[path]
        return script.popleft() if script else self._defaults.get(path, "accept")

    async def _answer(self, asked: Asked, request: HttpRequest) -> HttpResponse:
        match asked.behaviour:
            case "accept":
                self._act(asked, request)
                return _response(200, b'{"dtm_result":"SUCCESS"}')
            case "refuse":
                return _response(409, b"not enough money")
            case "ongoing":
                return _response(425, b"")
            case "break":
                return _response(500, b"out of order")
            case "hang":
                await trio.sleep_forever()
                raise AssertionError("a call that hangs was answered")
            case "accept silently":
                self._act(asked, request)
                raise HttpFault(f"{asked.url}: the answer was lost (simulated)")

    def _act(self, asked: Asked, request: HttpRequest) -> None:
        """By the barrier's rules (spec 9.2): once, nothing before its action, no action after its compensation."""
        branch = (asked.gid, asked.branch_id)
        if (*branch, asked.op) in self._seen:
            return
        self._seen.add((*branch, asked.op))
        if asked.op == "compensate" and (*branch, "action") not in self._seen:
            self._seen.add((*branch, "action"))
            return
        acted = Acted(url=asked.url, gid=asked.gid, branch_id=asked.branch_id, op=asked.op)
        self.acted.append(acted)
        self.on_act(acted, request)


def _response(status: int, body: bytes) -> HttpResponse:
    return HttpResponse(status=status, headers=(("content-type", "application/json"),), body=body)
