"""gRPC: a servicer's method as a participant, and the service that resumes workflows (spec 3.4, 3.6).

The law of this file: what a method does decides the status, and nothing else: it returns (OK), raises ``Refused``
(ABORTED), raises ``Ongoing`` (FAILED_PRECONDITION), or breaks (INTERNAL, asked again). Who calls is told by the dtm-*
metadata.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import BytesValue

from flowtx.client.async_workflows import AsyncWorkflows
from flowtx.client.barrier import Barrier
from flowtx.client.errors import BarrierError
from flowtx.client.participants import BranchRequest, log, text_of
from flowtx.client.workflows import Workflows
from flowtx_dsl.errors import Ongoing, Refused
from flowtx_dsl.signatures import name_of

ServicerT = TypeVar("ServicerT")
RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")

DETAILS_LENGTH_MAX = 1000
"""How many characters of a text go out as the status's details: they travel as a header."""

Method = Callable[[ServicerT, RequestT, Barrier], AnswerT]
ServicerMethod = Callable[[ServicerT, RequestT, Any], AnswerT]


def participant(
    *, table: str | None = None
) -> Callable[[Method[ServicerT, RequestT, AnswerT]], ServicerMethod[ServicerT, RequestT, AnswerT]]:
    """Decorate a servicer's method ``(self, request, barrier)``, plain or, for ``grpc.aio``, async."""

    def decorate(method: Method[ServicerT, RequestT, AnswerT]) -> ServicerMethod[ServicerT, RequestT, AnswerT]:
        name = name_of(method)

        def call(servicer: ServicerT, request: RequestT, context: grpc.ServicerContext) -> AnswerT:
            try:
                return method(servicer, request, _barrier(context, table))
            except Exception as error:
                context.abort(*_status(error, name))

        async def call_async(
            servicer: ServicerT, request: RequestT, context: grpc.aio.ServicerContext[RequestT, object]
        ) -> object:
            try:
                return await cast("Awaitable[object]", method(servicer, request, _barrier(context, table)))
            except Exception as error:
                await context.abort(*_status(error, name))

        if inspect.iscoroutinefunction(method):
            return cast("ServicerMethod[ServicerT, RequestT, AnswerT]", call_async)
        return call

    return decorate


WORKFLOW_SERVICE, WORKFLOW_METHOD = "workflow.Workflow", "Execute"


def callback_of(address: str) -> str:
    """The ``callback`` of workflows at a gRPC server (``host:port``) that ``add_workflows`` was called with."""
    return f"{address}/{WORKFLOW_SERVICE}/{WORKFLOW_METHOD}"


def add_workflows(workflows: Workflows | AsyncWorkflows, server: grpc.Server | grpc.aio.Server) -> None:
    """Let a DTM server resume workflows over gRPC (spec 3.6): ``AsyncWorkflows`` on a server of ``grpc.aio``."""

    def execute(request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            cast("Workflows", workflows).resume(_resumed(request, context))
        except Exception as error:
            context.abort(*_status(error, "a workflow"))
        return b""

    async def execute_async(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        try:
            await cast("AsyncWorkflows", workflows).resume(_resumed(request, context))
        except Exception as error:
            await context.abort(*_status(error, "a workflow"))
        return b""

    untyped: Any = grpc  # its types want to know how bytes become messages
    method = untyped.unary_unary_rpc_method_handler(execute if isinstance(workflows, Workflows) else execute_async)
    server.add_generic_rpc_handlers(
        (untyped.method_handlers_generic_handler(WORKFLOW_SERVICE, {WORKFLOW_METHOD: method}),)
    )


def _resumed(request: bytes, context: grpc.ServicerContext | grpc.aio.ServicerContext[Any, Any]) -> BranchRequest:
    try:
        # As WorkflowData, BytesValue has one field, number 1, of bytes.
        body = BytesValue.FromString(request).value
    except DecodeError as error:
        raise _Misunderstood(f"the request is no WorkflowData: {error}") from error
    return BranchRequest(query=query_of(context), body=body)


def query_of(context: grpc.ServicerContext | grpc.aio.ServicerContext[Any, Any]) -> Mapping[str, str]:
    """The dtm metadata of a call, under the names of an HTTP call's query: for ``join_tcc``, xa and the like."""
    found = cast("tuple[tuple[str, str | bytes], ...]", context.invocation_metadata() or ())
    return {key.removeprefix("dtm-"): str(value) for key, value in found if key.startswith("dtm-")}


def _barrier(context: grpc.ServicerContext | grpc.aio.ServicerContext[Any, Any], table: str | None) -> Barrier:
    try:
        return Barrier.from_query(query_of(context), table=table)
    except BarrierError as error:
        raise _Misunderstood(error.message) from error


class _Misunderstood(Exception):
    """A call that no method should see."""


def _status(error: Exception, name: str) -> tuple[grpc.StatusCode, str]:
    match error:
        case Refused():
            # Before 1.10 exactly this text meant "not yet", and DTM still takes it so.
            text = error.message if error.message != "ONGOING" else "refused: ONGOING"
            return grpc.StatusCode.ABORTED, text[:DETAILS_LENGTH_MAX]
        case Ongoing():
            return grpc.StatusCode.FAILED_PRECONDITION, error.message[:DETAILS_LENGTH_MAX]
        case _Misunderstood():
            log.warning("%s was called with what it cannot read: %s", name, error)
            return grpc.StatusCode.INVALID_ARGUMENT, str(error)[:DETAILS_LENGTH_MAX]
        case _:
            log.error("%s broke, and will be called again", name, exc_info=error)
            return grpc.StatusCode.INTERNAL, text_of(error)[:DETAILS_LENGTH_MAX]
