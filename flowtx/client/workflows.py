"""DTM's workflow mode, for threads: a function whose branches are recorded with the server, and resumed from there.

The law of this file: it only types what ``workflow_run.py`` decides. For new programs flowtx's own workflows are
better: they need no callback and notice when code has changed; this is for services that share a DTM server.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

from sqlalchemy import Connection

from flowtx.client.barrier import Barrier
from flowtx.client.barrier_dbapi import DbApiConnection
from flowtx.client.branch_calls import BranchResult
from flowtx.client.options import Options
from flowtx.client.participants import BranchRequest
from flowtx.client.sync_client import DtmClient
from flowtx.client.workflow_run import Definition, Phase2, Register, WorkflowRun, define
from flowtx.client.xa_branch import XaBranch
from flowtx_dsl.codec import encode
from flowtx_dsl.errors import NoSuchWorkflow, WorkflowError

T = TypeVar("T")
ConnectionT = TypeVar("ConnectionT", bound=Connection | DbApiConnection)
DataT = TypeVar("DataT")
ResultT = TypeVar("ResultT")


class Workflow:
    """What a workflow's function calls its branches with."""

    def __init__(self, client: DtmClient, run: WorkflowRun) -> None:
        self._client, self._run = client, run

    @property
    def gid(self) -> str:
        """Its gid."""
        return self._run.gid

    def do(self, action: Callable[[Barrier], T], *, on_rollback: Phase2 = None, on_commit: Phase2 = None) -> T:
        """Run ``action(barrier)``, once as far as the server knows; its result is recorded and read by its annotation.

        ``on_rollback`` and ``on_commit`` end the branch when all is known: functions ``(barrier)``, or URLs. Raises
        ``Refused`` where the action did, now or when it was recorded; any other error is to leave the workflow.
        """
        return cast("T", self._client.run(self._run.do(action, on_rollback=on_rollback, on_commit=on_commit)))

    def call(
        self, url: str, *, payload: object = None, on_rollback: Phase2 = None, on_commit: Phase2 = None
    ) -> BranchResult:
        """As ``do``, with a participant: the URLs get the payload as JSON. Raises ``BranchFault`` too."""
        return self._client.run(self._run.call(url, payload=payload, on_rollback=on_rollback, on_commit=on_commit))

    def do_xa(
        self, connect: Callable[[], AbstractContextManager[ConnectionT]], business: Callable[[ConnectionT], T]
    ) -> T:
        """Run ``business(connection)`` and prepare its database transaction; it is committed, or rolled back, with
        the workflow.

        ``connect()`` opens a connection as ``XaBranch.call`` takes it, now and once more at the end:
        ``engine.connect``. Business neither commits nor rolls back, and may be run again where a crash left nothing
        prepared. Else as ``do``; raises ``XaError`` too.
        """

        def prepare(branch: XaBranch, register: Register) -> object:
            with connect() as connection:
                return branch.prepare(connection, business, lambda value: self._client.run(register(value)))

        def finish(branch: XaBranch) -> None:
            with connect() as connection:
                branch.finish(connection)

        return cast("T", self._client.run(self._run.do_xa(business, prepare=prepare, finish=finish)))


class Workflows:
    """The workflows of a service. ``callback`` is its URL that calls ``resume``; ``table`` is that of the barriers."""

    def __init__(self, client: DtmClient, callback: str, *, table: str | None = None) -> None:
        self._client, self._callback, self._table = client, callback, table
        self._known = Registry()

    def register(
        self, handler: Callable[[Workflow, DataT], ResultT], *, name: str | None = None
    ) -> Callable[[Workflow, DataT], ResultT]:
        """Let the server call this function again, by its name; usable as a decorator.

        Raises ``WorkflowError`` for a function of another shape, and for a name that is taken.
        """
        self._known.add(handler, name)
        return handler

    def execute(
        self,
        handler: Callable[[Workflow, DataT], ResultT],
        data: DataT,
        *,
        gid: str | None = None,
        options: Options | None = None,
    ) -> ResultT:
        """Run a workflow to its end and return its result; under a gid that has ended, return that result.

        Raises ``Refused`` when it is rolled back. Any other error leaves it unfinished: the server calls back.
        """
        definition = self._known.definition_of(handler)
        body = encode(data, what=f"the data of workflow {definition.name}")
        gid = gid or self._client.new_gid()
        return cast("ResultT", self._execute(handler, definition, gid, body, options or Options()))

    def resume(self, request: BranchRequest) -> None:
        """Go on with an unfinished workflow; the service's callback passes on what it was called with.

        Raises as ``execute``, and ``NoSuchWorkflow`` for a name that nobody registered.
        """
        handler, definition = self._known.named(request.query.get("op", ""))
        gid = request.query.get("gid", "")
        self._execute(handler, definition, gid, request.body or b"null", Options())

    def _execute(
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
        workflow = Workflow(self._client, run)
        return self._client.run(run.execute(lambda value: handler(workflow, value)))


class Registry:
    """Workflow functions by name."""

    def __init__(self) -> None:
        self._handlers: dict[str, tuple[Callable[..., object], Definition]] = {}

    def add(self, handler: Callable[..., object], name: str | None) -> None:
        """Raises ``WorkflowError`` for a name that is taken."""
        definition = define(handler, name)
        if definition.name in self._handlers:
            raise WorkflowError(f"workflow {definition.name} is registered twice", remedy="Pass another name=.")
        self._handlers[definition.name] = (handler, definition)

    def definition_of(self, handler: Callable[..., Any]) -> Definition:
        """Raises ``WorkflowError`` for what was not registered."""
        for known, definition in self._handlers.values():
            if known == handler:  # bound methods are made anew at each look
                return definition
        raise WorkflowError(
            f"{handler} is not registered, so nobody could go on with it after a crash",
            remedy="Register it first: workflows.register(handler).",
        )

    def named(self, name: str) -> tuple[Callable[..., Any], Definition]:
        """Raises ``NoSuchWorkflow``."""
        if name not in self._handlers:
            raise NoSuchWorkflow(
                f"the server asks for workflow {name!r}, expected one of {', '.join(sorted(self._handlers)) or 'none'}",
                remedy="Import the module that registers it where the callback runs.",
            )
        return self._handlers[name]
