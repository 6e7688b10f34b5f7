"""The DTM client for threads: the exchanges of this package over the standard library's HTTP, or gRPC.

The law of this file: over HTTP one connection a request, so that the client can be shared by threads and no request
meets a connection that the server has just closed; over gRPC one a host, which threads share too. Nothing is repeated
here: repeating is the caller's decision.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast
from urllib.parse import urlsplit

from flowtx.client.answers import FoundTransaction
from flowtx.client.barrier import Barrier
from flowtx.client.blocks import Block, TccBlock, XaBlock, parent_of
from flowtx.client.branch_calls import BranchResult
from flowtx.client.errors import ServerUnreachable
from flowtx.client.exchanges import ClientAnswer, ClientRequest, Exchange
from flowtx.client.message import Message
from flowtx.client.operations import Operations
from flowtx.client.options import Options
from flowtx.client.saga import Saga

if TYPE_CHECKING:  # the library is loaded by who uses it
    from flowtx.client.grpc_channels import GrpcChannels

T = TypeVar("T")
BlockT = TypeVar("BlockT", bound=Block)

ANSWER_MAX = 16 * 1024 * 1024
"""The longest answer that is read, in bytes."""

Send = Callable[[ClientRequest], ClientAnswer]


class DtmClient:
    """Hands transactions to a DTM server, flowtx or another. For threads; ``AsyncDtmClient`` is for trio and asyncio.

    ``url`` is like ``http://localhost:36789``, ``http://localhost:36789/api/json-rpc`` or ``grpc://localhost:36790``;
    ``timeout_s`` is the longest wait for a sign of life of the server. Close it, or use it in a ``with`` block, when
    it speaks gRPC; over HTTP it holds nothing. Environment variables for proxies are not read over HTTP.

    Every method raises ``ServerUnreachable`` when no whole answer was had, ``ServerRefused``, ``ServerOngoing`` or
    another ``ServerError`` for what was not success (spec 10), and ``MissingOperation`` for what the protocol has not.
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0, send: Send | None = None) -> None:
        """``send`` carries requests some other way; raises ``ClientError`` for an address that is none."""
        self.operations = Operations(url, timeout_s=timeout_s)
        self._send = send or self._send_itself
        self._channels: GrpcChannels | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<DtmClient of {self.operations.wire.address}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what the client holds."""
        if self._channels is not None:
            self._channels.close()

    def new_gid(self) -> str:
        """A gid that nobody has; two calls never give the same."""
        return self.run(self.operations.wire.new_gid())

    def submit(self, transaction: Saga | Message) -> None:
        """Hand it over: when this returns the server has it, and with ``wait_result`` it has succeeded.

        Repeating it is harmless: one gid is one transaction. With ``wait_result`` a ``ServerRefused`` says only that
        the transaction has not succeeded; ``query`` tells whether it failed or goes on (spec 4.8).
        """
        self.run(self.operations.submit(transaction))

    def prepare(self, message: Message) -> None:
        """Let the server know of a message; when its time is up without a submit, it asks ``query_prepared``."""
        self.run(self.operations.prepare(message))

    def abort(self, message: Message) -> None:
        """Take a prepared message back: it is never sent."""
        self.run(self.operations.abort(message))

    def do_and_submit(self, message: Message, business: Callable[[Barrier], T], *, table: str | None = None) -> T:
        """Prepare a message, run ``business(barrier)``, and submit the message; returns what business returned.

        Business does its local transaction through ``barrier.call(connection, ...)``. When it raises, the message is
        aborted (after ``Refused``, or when ``query_prepared`` says that nothing was committed) or submitted (when it
        says that all was committed), and the error goes on to the caller in every case. ``table`` is the barrier's.
        """
        return cast("T", self.run(self.operations.do_and_submit(message, business, table)))

    def tcc(self, gid: str | None = None, *, options: Options | None = None) -> Tcc:
        """A tcc as a block: ``with dtm.tcc() as tcc: tcc.call_branch(...)``; without a gid the server gives one."""
        return Tcc(self, TccBlock(self.operations, gid, options))

    def xa(self, gid: str | None = None, *, options: Options | None = None) -> Xa:
        """An xa transaction as a block: ``with dtm.xa() as xa: xa.call_branch(url)``."""
        return Xa(self, XaBlock(self.operations, gid, options))

    def join_tcc(self, query: Mapping[str, str], *, options: Options | None = None) -> Tcc:
        """The tcc that called this participant, to call branches below its own; the caller of all ends it."""
        gid, parent = parent_of(query, "tcc")
        return Tcc(self, TccBlock(self.operations, gid, options, parent=parent))

    def join_xa(self, query: Mapping[str, str], *, options: Options | None = None) -> Xa:
        """As ``join_tcc``, for xa."""
        gid, parent = parent_of(query, "xa")
        return Xa(self, XaBlock(self.operations, gid, options, parent=parent))

    def register_xa(self, query: Mapping[str, str], phase2_url: str) -> None:
        """Let the server know which URL commits or rolls back an xa branch; ``XaBranch.call`` does this itself."""
        self.run(self.operations.register_xa(query, phase2_url))

    def query(self, gid: str) -> FoundTransaction | None:
        """What the server has under a gid; None where it has nothing."""
        return self.run(self.operations.wire.query(gid))

    def force_stop(self, gid: str) -> None:
        """End a transaction as failed, whatever was done for it; nothing is compensated."""
        self.run(self.operations.wire.force_stop(gid))

    def subscribe(self, topic: str, url: str, *, remark: str = "") -> None:
        """Let a topic's messages reach ``url``; refused where they do already."""
        self.run(self.operations.wire.subscribe(topic, url, remark))

    def unsubscribe(self, topic: str, url: str) -> None:
        """Let a topic's messages not reach ``url`` any more; refused where they do not."""
        self.run(self.operations.wire.unsubscribe(topic, url))

    def delete_topic(self, topic: str) -> None:
        """Forget a topic and all its subscribers; refused where there is none."""
        self.run(self.operations.wire.delete_topic(topic))

    def _send_itself(self, request: ClientRequest) -> ClientAnswer:
        if not request.is_grpc:
            return send_http(request)
        with self._lock:
            if self._channels is None:
                self._channels = open_channels()
        return self._channels.send(request)

    def run(self, exchange: Exchange[T]) -> T:
        """Bring an exchange to its end; the other methods, and what is built on them, are this."""
        try:
            wanted = next(exchange)
            while True:
                try:
                    came = self._send(wanted) if isinstance(wanted, ClientRequest) else wanted.run()
                except BaseException as error:
                    wanted = exchange.throw(error)
                else:
                    wanted = exchange.send(came)
        except StopIteration as end:
            result: T = end.value
            return result


class BlockRun(Generic[BlockT]):
    """A block that is being run; how it ends decides what becomes of the transaction."""

    def __init__(self, client: DtmClient, block: BlockT) -> None:
        self._client, self._block = client, block

    @property
    def gid(self) -> str:
        """Its gid."""
        return self._block.gid

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.gid}>"

    def __enter__(self) -> Self:
        self._client.run(self._block.begin())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.run(self._block.end(error))


class Tcc(BlockRun[TccBlock]):
    """A tcc. Leaving its block submits it, and an exception of any kind aborts it."""

    def call_branch(self, *, try_: str, confirm: str, cancel: str, payload: object = None) -> BranchResult:
        """Register a branch and try it; all three URLs get the payload as JSON.

        Raises ``Refused``, ``Ongoing`` or ``BranchFault`` for what was not success: let it leave the block.
        """
        return self._client.run(self._block.call_branch(try_=try_, confirm=confirm, cancel=cancel, payload=payload))


class Xa(BlockRun[XaBlock]):
    """An xa transaction. Leaving its block submits it, and an exception of any kind aborts it."""

    def call_branch(self, url: str, *, payload: object = None, phase2_url: str = "") -> BranchResult:
        """Call a participant, which prepares in its database; ``phase2_url`` is called to commit or roll back.

        By default that is ``url`` too. Raises as ``Tcc.call_branch``.
        """
        return self._client.run(self._block.call_branch(url=url, payload=payload, phase2_url=phase2_url))


def send_http(request: ClientRequest) -> ClientAnswer:
    """Send one request on a connection of its own; raises ``ServerUnreachable``."""
    parts = urlsplit(request.url)
    assert parts.hostname is not None, request.url
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname, parts.port, timeout=request.timeout_s)
        try:
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection.request(request.method, target, body=request.body or None, headers=request.all_headers)
            response = connection.getresponse()
            body = response.read(ANSWER_MAX + 1)
            # Asked for so many bytes, http.client takes fewer for the end; what it still expected tells.
            if len(body) <= ANSWER_MAX and response.length:
                raise http.client.IncompleteRead(body, response.length)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a header or path of odd characters
        raise unreachable(request, error) from error
    if len(body) > ANSWER_MAX:
        raise too_long(request)
    return ClientAnswer(status=response.status, body=body)


def open_channels() -> GrpcChannels:
    """The way out for calls over gRPC."""
    from flowtx.client.grpc_channels import GrpcChannels  # noqa: PLC0415 - heavy, and few need it

    return GrpcChannels()


def unreachable(request: ClientRequest, error: Exception) -> ServerUnreachable:
    """The error for a request without a whole answer."""
    why = str(error) or type(error).__name__
    return ServerUnreachable(f"{request.method} {request.url} had no whole answer: {why}")


def too_long(request: ClientRequest) -> ServerUnreachable:
    """The error for an answer that is not read to its end."""
    return ServerUnreachable(f"{request.method} {request.url} was answered with more than {ANSWER_MAX} bytes")
