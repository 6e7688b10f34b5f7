"""gRPC for those who may never need it: the library is loaded, and its threads begin, with the first call."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from flowtx_engine.calls.grpc_types import GrpcRequest, GrpcResponse

if TYPE_CHECKING:
    from flowtx_engine.calls.grpc_channels import GrpcChannels


class GrpcOnDemand:
    """A ``GrpcTransport`` that opens the real one when it is first called: ``async with GrpcOnDemand() as grpc``."""

    def __init__(self, *, reply_max: int = 16 * 1024 * 1024) -> None:
        """``reply_max`` is the longest reply that is taken, in bytes."""
        self._reply_max = reply_max
        self._channels: GrpcChannels | None = None

    async def call(self, request: GrpcRequest, *, timeout_s: float) -> GrpcResponse:
        """As ``GrpcChannels.call``."""
        if self._channels is None:
            from flowtx_engine.calls.grpc_channels import GrpcChannels, GrpcLimits  # noqa: PLC0415 - heavy, as said

            self._channels = GrpcChannels(limits=GrpcLimits(reply_max=self._reply_max))
        return await self._channels.call(request, timeout_s=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channels is not None:
            await self._channels.aclose()
