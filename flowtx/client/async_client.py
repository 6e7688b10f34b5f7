"""The DTM client for trio and asyncio: the exchanges of this package over httpx2, or gRPC.

The law of this file: as in ``sync_client.py``, nothing is repeated here. A cancelled task still says its last word to
the server (an abort), within a deadline. Why httpx2: it runs on both loops; httpx itself has had no release since 2024,
and httpx2 is the fork that its users moved to. It stands on anyio, which shields on both loops.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from flowtx.client.answers import FoundTransaction
from flowtx.client.barrier import Barrier
from flowtx.client.blocks import Block, TccBlock, XaBlock, parent_of
from flowtx.client.branch_calls import BranchResult
from flowtx.client.errors import ClientError
from flowtx.client.exchanges import ClientAnswer, ClientRequest, Exchange, Perform
from flowtx.client.message import Message
from flowtx.client.operations import Operations
from flowtx.client.options import Options
from flowtx.client.saga import Saga
from flowtx.client.sync_client import ANSWER_MAX, open_channels, too_long, unreachable
from flowtx_dsl.errors import WorkflowError

try:
    import anyio
    import anyio.to_thread
    import httpx2
except ImportError as error:
    raise ClientError(
        "the client for trio and asyncio needs httpx2, which is not installed",
        remedy="pip install 'flowtx[client]', or use flowtx.client.sync_client in a worker thread.",
    ) from error

if TYPE_CHECKING:  # the library is loaded by who uses it
    from flowtx.client.grpc_channels import GrpcChannels

T = TypeVar("T")
BlockT = TypeVar("BlockT", bound=Block)

AsyncSend = Callable[[ClientRequest], Awaitable[ClientAnswer]]


class AsyncDtmClient:
    """As ``DtmClient``, on trio and asyncio; use it as ``async with AsyncDtmClient(url) as dtm``.

    A cancelled method leaves it unknown whether the server acted, as a lost answer does.
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0, send: AsyncSend | None = None) -> None:
        """``send`` carries requests some other way; raises ``ClientError`` for an address that is none."""
        self.operations = Operations(url, timeout_s=timeout_s)
        self._http = httpx2.AsyncClient(trust_env=False)
        self._send = send or self._send_itself
        self._channels: GrpcChannels | None = None

    def __repr__(self) -> str:
        return f"<AsyncDtmClient of {self.operations.wire.address}>"

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give back what the client holds; the end of its ``async with`` block does."""
        if self._channels is not None:
            self._channels.close()
        await self._http.aclose()

    async def new_gid(self) -> str:
        """As ``DtmClient.new_gid``."""
        return await self.run(self.operations.wire.new_gid())

    async def submit(self, transaction: Saga | Message) -> None:
        """As ``DtmClient.submit``."""
        await self.run(self.operations.submit(transaction))

    async def prepare(self, message: Message) -> None:
        """As ``DtmClient.prepare``."""
        await self.run(self.operations.prepare(message))

    async def abort(self, message: Message) -> None:
        """As ``DtmClient.abort``."""
        await self.run(self.operations.abort(message))

    async def do_and_submit(
        self, message: Message, business: Callable[[Barrier], Awaitable[T]], *, table: str | None = None
    ) -> T:
        """As ``DtmClient.do_and_submit``; business is async."""
        return cast("T", await self.run(self.operations.do_and_submit(message, business, table)))

    def tcc(self, gid: str | None = None, *, options: Options | None = None) -> AsyncTcc:
        """As ``DtmClient.tcc``: ``async with dtm.tcc() as tcc: await tcc.call_branch(...)``."""
        return AsyncTcc(self, TccBlock(self.operations, gid, options))

    def xa(self, gid: str | None = None, *, options: Options | None = None) -> AsyncXa:
        """As ``DtmClient.xa``: ``async with dtm.xa() as xa: await xa.call_branch(url)``."""
        return AsyncXa(self, XaBlock(self.operations, gid, options))

    def join_tcc(self, query: Mapping[str, str], *, options: Options | None = None) -> AsyncTcc:
        """As ``DtmClient.join_tcc``."""
        gid, parent = parent_of(query, "tcc")
        return AsyncTcc(self, TccBlock(self.operations, gid, options, parent=parent))

    def join_xa(self, query: Mapping[str, str], *, options: Options | None = None) -> AsyncXa:
        """As ``DtmClient.join_xa``."""
        gid, parent = parent_of(query, "xa")
        return AsyncXa(self, XaBlock(self.operations, gid, options, parent=parent))

    async def register_xa(self, query: Mapping[str, str], phase2_url: str) -> None:
        """As ``DtmClient.register_xa``."""
        await self.run(self.operations.register_xa(query, phase2_url))

    async def query(self, gid: str) -> FoundTransaction | None:
        """As ``DtmClient.query``."""
        return await self.run(self.operations.wire.query(gid))

    async def force_stop(self, gid: str) -> None:
        """As ``DtmClient.force_stop``."""
        await self.run(self.operations.wire.force_stop(gid))

    async def subscribe(self, topic: str, url: str, *, remark: str = "") -> None:
        """As ``DtmClient.subscribe``."""
        await self.run(self.operations.wire.subscribe(topic, url, remark))

    async def unsubscribe(self, topic: str, url: str) -> None:
        """As ``DtmClient.unsubscribe``."""
        await self.run(self.operations.wire.unsubscribe(topic, url))

    async def delete_topic(self, topic: str) -> None:
        """As ``DtmClient.delete_topic``."""
        await self.run(self.operations.wire.delete_topic(topic))

    async def run(self, exchange: Exchange[T]) -> T:
        """As ``DtmClient.run``."""
        try:
            wanted = next(exchange)
            while True:
                try:
                    came = await self._bring(wanted)
                except BaseException as error:
                    # A cancellation, too: the exchange says its last word, and lets it pass.
                    wanted = exchange.throw(error)
                else:
                    wanted = exchange.send(came)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _bring(self, wanted: ClientRequest | Perform) -> object:
        if isinstance(wanted, Perform):
            awaitable = wanted.run()
            if not isinstance(awaitable, Awaitable):
                raise WorkflowError(
                    f"the function gave back a {type(awaitable).__name__} at once, expected an async function",
                    remedy="Define it with async def, or use flowtx.client.sync_client.",
                )
            return await cast("Awaitable[object]", awaitable)
        if not wanted.is_last_word:
            return await self._send(wanted)
        with anyio.move_on_after(wanted.timeout_s, shield=True):
            return await self._send(wanted)
        raise unreachable(wanted, TimeoutError(f"nothing within {wanted.timeout_s} seconds"))

    async def _send_itself(self, request: ClientRequest) -> ClientAnswer:
        return await (self._send_grpc(request) if request.is_grpc else self._send_http(request))

    async def _send_grpc(self, request: ClientRequest) -> ClientAnswer:
        if self._channels is None:
            self._channels = open_channels()
        call = self._channels.start(request)
        try:
            # The thread only waits; given up, it is let go when the call is cancelled.
            return await anyio.to_thread.run_sync(call.wait, abandon_on_cancel=True)
        finally:
            call.cancel()

    async def _send_http(self, request: ClientRequest) -> ClientAnswer:
        received = bytearray()
        try:
            async with self._http.stream(
                request.method,
                request.url,
                content=request.body or None,
                headers=request.all_headers,
                timeout=request.timeout_s,
            ) as response:
                if int(response.headers.get("Content-Length", "0")) > ANSWER_MAX:
                    raise too_long(request)  # before reading: httpx2 leaves its generators to the collector otherwise
                async with aclosing(response.aiter_bytes()) as parts:
                    async for part in parts:
                        received += part
                        if len(received) > ANSWER_MAX:
                            raise too_long(request)
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise unreachable(request, error) from error
        return ClientAnswer(status=response.status_code, body=bytes(received))


class AsyncBlockRun(Generic[BlockT]):
    """As ``BlockRun``, on trio and asyncio."""

    def __init__(self, client: AsyncDtmClient, block: BlockT) -> None:
        self._client, self._block = client, block

    @property
    def gid(self) -> str:
        """Its gid."""
        return self._block.gid

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.gid}>"

    async def __aenter__(self) -> Self:
        await self._client.run(self._block.begin())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.run(self._block.end(error))


class AsyncTcc(AsyncBlockRun[TccBlock]):
    """As ``Tcc``."""

    async def call_branch(self, *, try_: str, confirm: str, cancel: str, payload: object = None) -> BranchResult:
        """As ``Tcc.call_branch``."""
        return await self._client.run(
            self._block.call_branch(try_=try_, confirm=confirm, cancel=cancel, payload=payload)
        )


class AsyncXa(AsyncBlockRun[XaBlock]):
    """As ``Xa``."""

    async def call_branch(self, url: str, *, payload: object = None, phase2_url: str = "") -> BranchResult:
        """As ``Xa.call_branch``."""
        return await self._client.run(self._block.call_branch(url=url, payload=payload, phase2_url=phase2_url))
