"""Replaying a history to look at the run: nothing is performed, nothing is written, and nothing stays behind.

The law of this file: it runs the workflow's own code up to where it waits, and no further.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.kernel.events import Event
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.view import RunView, view_of
from flowtx_engine.runtime.speech import replaying


def replayed(workflow: AnyWorkflow, payload: bytes, events: Sequence[Event], *, gid: str) -> Kernel:
    """The run after its history; the caller closes it. Raises ``NondeterminismError`` when this code has left it."""
    kernel = Kernel(workflow, payload, gid=gid, recorded=events)
    try:
        with replaying(gid):
            for event in events:
                kernel.feed(event)
    except BaseException:
        kernel.close()
        raise
    return kernel


def view_of_history(workflow: AnyWorkflow, payload: bytes, events: Sequence[Event], *, gid: str) -> RunView:
    """Where a run stands after its history; raises as ``replayed`` does."""
    kernel = replayed(workflow, payload, events, gid=gid)
    try:
        return view_of(kernel)
    finally:
        kernel.close()
