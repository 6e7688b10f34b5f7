"""The performer: branches on what a step calls. One line a kind of target; what each does is in its own file."""

from __future__ import annotations

from typing import assert_never

from flowtx_dsl.targets import ChildTarget, FunctionTarget, GrpcTarget, HttpTarget, JsonRpcTarget, QueueTarget
from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.calls.functions import RunSync, perform_function
from flowtx_engine.calls.grpc_step import perform_grpc
from flowtx_engine.calls.grpc_types import GrpcTransport
from flowtx_engine.calls.http_step import perform_http
from flowtx_engine.calls.http_types import HttpTransport
from flowtx_engine.calls.json_rpc_step import perform_json_rpc
from flowtx_engine.calls.queue_step import perform_queue
from flowtx_engine.calls.queue_types import QueueTransport


class Calls:
    """Performs attempts for real, over one transport each for HTTP, gRPC and message queues."""

    def __init__(
        self,
        transport: HttpTransport,
        *,
        grpc: GrpcTransport,
        queues: QueueTransport,
        run_sync: RunSync,
        http_timeout_s: float = 30.0,
    ) -> None:
        """``run_sync`` runs sync functions; ``http_timeout_s`` limits a remote attempt whose step names no timeout."""
        self._transport = transport
        self._grpc = grpc
        self._queues = queues
        self._run_sync = run_sync
        self._remote_timeout_s = http_timeout_s

    async def perform(self, attempt: Attempt) -> Outcome:
        """Make one attempt; never raises but when it is cancelled."""
        target = attempt.command.call.target
        timeout_s = self._remote_timeout_s
        match target:
            case FunctionTarget():
                return await perform_function(target, attempt, self._run_sync)
            case HttpTarget():
                return await perform_http(target, attempt, self._transport, default_timeout_s=timeout_s)
            case GrpcTarget():
                return await perform_grpc(target, attempt, self._grpc, default_timeout_s=timeout_s)
            case JsonRpcTarget():
                return await perform_json_rpc(target, attempt, self._transport, default_timeout_s=timeout_s)
            case QueueTarget():
                return await perform_queue(target, attempt, self._queues, default_timeout_s=timeout_s)
            case ChildTarget():
                raise AssertionError(f"{target.name}: children are the runtime's affair")
            case _:
                assert_never(target)
