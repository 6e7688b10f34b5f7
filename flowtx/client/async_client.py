"""The DTM client for trio and asyncio: the exchanges of ``exchanges.py`` over httpx2.

The law of this file: as in ``sync_client.py``, nothing is repeated here. Why httpx2: it runs on both loops; httpx
itself has had no release since 2024, and httpx2 is the fork that its users moved to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Self, TypeVar

from flowtx.client.errors import ClientError, ServerUnreachable
from flowtx.client.exchanges import ClientAnswer, ClientRequest, Exchange, Exchanges, FoundTransaction
from flowtx.client.saga import Saga
from flowtx.client.sync_client import ANSWER_MAX, too_long, unreachable

try:
    import httpx2
except ImportError as error:
    raise ClientError(
        "the client for trio and asyncio needs httpx2, which is not installed",
        remedy="pip install 'flowtx[client]', or use flowtx.client.sync_client in a worker thread.",
    ) from error

T = TypeVar("T")

AsyncSend = Callable[[ClientRequest], Awaitable[ClientAnswer]]


class AsyncDtmClient:
    """As ``DtmClient``, on trio and asyncio; use it as ``async with AsyncDtmClient(url) as dtm``.

    A cancelled method leaves it unknown whether the server acted, as a lost answer does.
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0, send: AsyncSend | None = None) -> None:
        """``send`` carries requests some other way; raises ``ClientError`` for an address that is none."""
        self._exchanges = Exchanges(url, timeout_s=timeout_s)
        self._http = httpx2.AsyncClient(trust_env=False)
        self._send = send or self._send_http

    def __repr__(self) -> str:
        return f"<AsyncDtmClient of {self._exchanges.base}>"

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def new_gid(self) -> str:
        """As ``DtmClient.new_gid``."""
        return await self._run(self._exchanges.new_gid())

    async def submit(self, saga: Saga) -> None:
        """As ``DtmClient.submit``."""
        await self._run(self._exchanges.submit(saga))

    async def query(self, gid: str) -> FoundTransaction | None:
        """As ``DtmClient.query``."""
        return await self._run(self._exchanges.query(gid))

    async def force_stop(self, gid: str) -> None:
        """As ``DtmClient.force_stop``."""
        await self._run(self._exchanges.force_stop(gid))

    async def _run(self, exchange: Exchange[T]) -> T:
        try:
            request = next(exchange)
            while True:
                try:
                    answer = await self._send(request)
                except ServerUnreachable as error:
                    request = exchange.throw(error)
                else:
                    request = exchange.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _send_http(self, request: ClientRequest) -> ClientAnswer:
        headers = {"Content-Type": "application/json"} if request.body else {}
        content = request.body or None
        received = bytearray()
        try:
            async with self._http.stream(
                request.method, request.url, content=content, headers=headers, timeout=request.timeout_s
            ) as response:
                if int(response.headers.get("Content-Length", "0")) > ANSWER_MAX:
                    raise too_long(request)  # before reading: httpx2 leaves its generators to the collector otherwise
                async with aclosing(response.aiter_bytes()) as parts:
                    async for part in parts:
                        received += part
                        if len(received) > ANSWER_MAX:
                            raise too_long(request)
        except httpx2.RequestError as error:
            raise unreachable(request, error) from error
        return ClientAnswer(status=response.status_code, body=bytes(received))
