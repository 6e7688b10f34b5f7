"""Creating transactions: their first write, and who drives them from there.

The law of this file: a transaction is stored once under its gid; whoever comes second is given the row that is there.
What is stored is driven by somebody, whatever becomes of whoever asked for it.
"""

from __future__ import annotations

import msgspec
import trio

from flowtx_dsl.errors import EngineClosed, Overloaded
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.errors import ConflictError, JournalUnavailable
from flowtx_engine.journal.records import NewPlace, Transaction
from flowtx_engine.kernel.events import Began
from flowtx_engine.runtime.judge import check_size
from flowtx_engine.runtime.looking import must_find
from flowtx_engine.runtime.node import Node
from flowtx_engine.runtime.starting import beginning_of, check_gid, first_write
from flowtx_engine.runtime.tools import Tools


class Creating:
    """What one engine stores anew."""

    def __init__(self, node: Node, tools: Tools) -> None:
        self._node = node
        self._tools = tools

    async def create(
        self,
        workflow: AnyWorkflow,
        payload: bytes,
        *,
        gid: str,
        pattern: str,
        options: bytes,
        starts_at: float | None,
        parent: str,
        begun_by: str,
    ) -> tuple[Transaction, bool]:
        """Begin a transaction; see ``Engine.create``."""
        begins = beginning_of(workflow, payload, now_at=self._tools.clock.now_at(), starts_at=starts_at)
        self._check(gid, payload, is_active=begins.is_now)
        return await self._store(
            workflow,
            payload,
            gid=gid,
            pattern=pattern,
            options=options,
            began=msgspec.structs.replace(begins.began, parent=parent) if parent else begins.began,
            owner=self._tools.node if begins.is_now else "",
            wake_at=begins.wake_at,
            place=begins.place,
            begun_by=begun_by,
        )

    async def prepare(
        self,
        workflow: AnyWorkflow,
        payload: bytes,
        *,
        gid: str,
        pattern: str,
        options: bytes,
        wake_after_s: float | None,
    ) -> tuple[Transaction, bool]:
        """Store a transaction that waits for its submission; see ``Engine.prepare``."""
        self._check(gid, payload, is_active=False)
        return await self._store(
            workflow,
            payload,
            gid=gid,
            pattern=pattern,
            options=options,
            began=Began(workflow=workflow.name, version=workflow.version, is_prepared=True),
            owner="",
            wake_at=None if wake_after_s is None else self._tools.clock.now_at() + wake_after_s,
        )

    async def _store(
        self,
        workflow: AnyWorkflow,
        payload: bytes,
        *,
        gid: str,
        pattern: str,
        options: bytes,
        began: Began,
        owner: str,
        wake_at: float | None,
        place: NewPlace | None = None,
        begun_by: str = "",
    ) -> tuple[Transaction, bool]:
        if self._node.registry.add(workflow):
            self._node.look()
        write, row, first = first_write(
            payload,
            gid=gid,
            pattern=pattern,
            options=options,
            began=began,
            owner=owner,
            wake_at=wake_at,
            now_at=self._tools.clock.now_at(),
            place=place,
            begun_by=begun_by,
        )
        # Shielded, because a caller that goes away meanwhile must not leave a stored transaction that nobody drives.
        with trio.CancelScope(shield=True):
            try:
                await self._tools.journal.append(write)
            except ConflictError:
                return await must_find(self._tools.journal, gid), False
            except JournalUnavailable:
                self._node.answer_was_lost()
                raise
            if row.owner:
                self._node.drive(workflow, row, first)
            elif place is not None or (wake_at is not None and self._is_near(wake_at)):
                # Due before the next look, or there may be room for it.
                self._node.look()
        return row, True

    def _is_near(self, wake_at: float) -> bool:
        return wake_at < self._tools.clock.now_at() + self._tools.limits.poll_s

    def _check(self, gid: str, payload: bytes, *, is_active: bool) -> None:
        """Raises for what cannot be stored; nothing is by then."""
        if not self._node.is_open:
            raise EngineClosed("the engine is not running; nothing was stored")
        check_gid(gid)
        check_size(f"the input of {gid}", payload, self._tools.limits.payload_bytes_max)
        active_count = len(self._node.active)
        if is_active and active_count >= self._tools.limits.active_max:
            raise Overloaded(f"{active_count} transactions are active, the limit (active_max) is reached")
