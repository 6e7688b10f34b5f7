"""Asking a run: its kernel as the journal has it, and its answers once they are durable.

The law of this file: nothing is told that is not durable, and asking performs nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from flowtx_dsl.errors import Unanswered
from flowtx_engine.kernel.events import Answer
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.view import RunView
from flowtx_engine.runtime.looking import events_of, must_find
from flowtx_engine.runtime.node import Node
from flowtx_engine.runtime.replay import replayed, view_of_history
from flowtx_engine.runtime.tools import Tools


class Asking:
    """Looks at the runs of one engine."""

    def __init__(self, node: Node, tools: Tools) -> None:
        self._node = node
        self._tools = tools

    @asynccontextmanager
    async def kernel_of(self, gid: str) -> AsyncGenerator[Kernel]:
        """The run as the journal has it: its driver's, or one replayed for the purpose. Nothing may wait inside.

        Raises ``NoSuchTransaction``, ``NoSuchWorkflow`` and ``NondeterminismError``.
        """
        driver = self._node.active.get(gid)
        kernel = driver.kernel if driver is not None else None
        if kernel is not None:
            yield kernel
            return
        row = await must_find(self._tools.journal, gid)
        workflow = self._node.registry.find(row.workflow, row.version)
        kernel = replayed(workflow, row.input, await events_of(self._tools.journal, gid), gid=gid)
        try:
            yield kernel
        finally:
            kernel.close()

    async def view_of(self, gid: str) -> RunView:
        """Where the run stands in memory, or would stand if it were driven; raises as ``kernel_of`` does."""
        driver = self._node.active.get(gid)
        view = driver.view() if driver is not None else None
        if view is not None and view.phase != "new":
            return view
        row = await must_find(self._tools.journal, gid)
        workflow = self._node.registry.find(row.workflow, row.version)
        return view_of_history(workflow, row.input, await events_of(self._tools.journal, gid), gid=gid)

    async def answer_of(self, gid: str, key: str) -> Answer:
        """The answer to the update with a key, when it is durable; raises ``Unanswered`` when there will be none."""
        while True:
            async with self.kernel_of(gid) as kernel:
                answer = kernel.dialogue.answers.get(key)
                is_over = kernel.ended is not None
                is_past = kernel.dialogue.will_not_answer(key)
            if answer is not None:
                return answer
            if is_over:
                raise Unanswered(f"transaction {gid} ended without answering the update")
            if is_past:
                raise Unanswered(
                    f"transaction {gid} took update {key} before it restarted, and keeps no answer to it",
                    remedy="Look with engine.query what became of it; answer updates before tx.restart.",
                )
            # Its driver here says when an answer is durable; these looks are for what other nodes do.
            await self._tools.watch.wait(gid, self._tools.limits.poll_s)
