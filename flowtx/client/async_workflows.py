"""DTM's workflow mode, for trio and asyncio.

The law of this file: as ``workflows.py``, with async functions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar, cast

from flowtx.client.async_client import AsyncDtmClient
from flowtx.client.barrier import Barrier
from flowtx.client.branch_calls import BranchResult
from flowtx.client.options import Options
from flowtx.client.participants import BranchRequest
from flowtx.client.workflow_run import Definition, Phase2, Register, WorkflowRun
from flowtx.client.workflows import Registry
from flowtx.client.xa_branch import XaBranch
from flowtx_dsl.codec import encode

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection  # needs greenlet, which only asyncio services have

T = TypeVar("T")
DataT = TypeVar("DataT")
ResultT = TypeVar("ResultT")


class AsyncWorkflow:
    """As ``Workflow``. Branches may run in parallel, where they are begun in the same order each time."""

    def __init__(self, client: AsyncDtmClient, run: WorkflowRun) -> None:
        self._client, self._run = client, run

    @property
    def gid(self) -> str:
        """Its gid."""
        return self._run.gid

    async def do(
        self, action: Callable[[Barrier], Awaitable[T]], *, on_rollback: Phase2 = None, on_commit: Phase2 = None
    ) -> T:
        """As ``Workflow.do``; functions are async."""
        return cast("T", await self._client.run(self._run.do(action, on_rollback=on_rollback, on_commit=on_commit)))

    async def call(
        self, url: str, *, payload: object = None, on_rollback: Phase2 = None, on_commit: Phase2 = None
    ) -> BranchResult:
        """As ``Workflow.call``."""
        return await self._client.run(
            self._run.call(url, payload=payload, on_rollback=on_rollback, on_commit=on_commit)
        )

    async def do_xa(
        self,
        connect: Callable[[], AbstractAsyncContextManager[AsyncConnection]],
        business: Callable[[AsyncConnection], Awaitable[T]],
    ) -> T:
        """As ``Workflow.do_xa``, on asyncio, for SQLAlchemy's ``AsyncEngine``: ``connect`` is its ``connect``."""

        async def prepare(branch: XaBranch, register: Register) -> object:
            async with connect() as connection:
                return await branch.prepare_async(connection, business, lambda value: self._client.run(register(value)))

        async def finish(branch: XaBranch) -> None:
            async with connect() as connection:
                await branch.finish_async(connection)

        return cast("T", await self._client.run(self._run.do_xa(business, prepare=prepare, finish=finish)))


class AsyncWorkflows:
    """As ``Workflows``."""

    def __init__(self, client: AsyncDtmClient, callback: str, *, table: str | None = None) -> None:
        self._client, self._callback, self._table = client, callback, table
        self._known = Registry()

    def register(
        self, handler: Callable[[AsyncWorkflow, DataT], Awaitable[ResultT]], *, name: str | None = None
    ) -> Callable[[AsyncWorkflow, DataT], Awaitable[ResultT]]:
        """As ``Workflows.register``."""
        self._known.add(handler, name)
        return handler

    async def execute(
        self,
        handler: Callable[[AsyncWorkflow, DataT], Awaitable[ResultT]],
        data: DataT,
        *,
        gid: str | None = None,
        options: Options | None = None,
    ) -> ResultT:
        """As ``Workflows.execute``."""
        definition = self._known.definition_of(handler)
        body = encode(data, what=f"the data of workflow {definition.name}")
        gid = gid or await self._client.new_gid()
        return cast("ResultT", await self._execute(handler, definition, gid, body, options or Options()))

    async def resume(self, request: BranchRequest) -> None:
        """As ``Workflows.resume``."""
        handler, definition = self._known.named(request.query.get("op", ""))
        gid = request.query.get("gid", "")
        await self._execute(handler, definition, gid, request.body or b"null", Options())

    async def _execute(
        self, handler: Callable[..., object], definition: Definition, gid: str, data: bytes, options: Options
    ) -> object:
        run = WorkflowRun(
            operations=self._client.operations,
            definition=definition,
            gid=gid,
            data=data,
            callback=self._callback,
            options=options,
            table=self._table,
        )
        workflow = AsyncWorkflow(self._client, run)
        return await self._client.run(run.execute(lambda value: handler(workflow, value)))
