"""Life: how a run comes from one phase to the next.

The law of this file: it goes the ways of ``phases.MOVES`` and no other, and what a run did is settled before it ends. A
cancelled run is taken back even if its workflow swallows the cancellation and returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from flowtx_dsl.commands import Compensate, Sleep
from flowtx_dsl.error_codec import encode_error
from flowtx_dsl.errors import Cancelled, FlowtxError, WorkflowError
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.kernel import mismatch, phases
from flowtx_engine.kernel.beginnings import begins_again, fresh_journal, restarting
from flowtx_engine.kernel.events import Began, Ended, Event, stopped_end
from flowtx_engine.kernel.foreign import foreign_call
from flowtx_engine.kernel.nurseries import NurseryBlock
from flowtx_engine.kernel.outcomes import Outcomes
from flowtx_engine.kernel.phases import Phase
from flowtx_engine.kernel.savepoint import Restarting, Savepoint
from flowtx_engine.kernel.settling import Due, TaskDue, compensations_of, confirmations_of
from flowtx_engine.kernel.tasks import Ask, Status, Task, split_cancelled

START = "start"
"""The address of a delayed run's beginning; no task can have it."""


class Life(Outcomes):
    """The part of a run that knows its phases."""

    __slots__ = ("_payload", "_phase", "_version", "_workflow", "first_seq", "parent")

    def __init__(self, workflow: AnyWorkflow, payload: bytes, gid: str, recorded: Sequence[Event]) -> None:
        super().__init__(gid, recorded)
        self.parent = ""  # the gid of the run that this one is a child of
        self.first_seq = 0  # not 0 in the journal of a run that began again
        self._workflow = workflow
        self._version = workflow.version
        self._payload = payload
        self._phase: Phase = NEW

    @property
    def name(self) -> str:
        """What messages call this run."""
        return f"workflow {self._workflow.name} {self.gid}"

    def _move(self, phase: Phase) -> None:
        """Go on to a phase; raises ``AssertionError`` when it cannot come next, and changes nothing."""
        before = self._phase
        assert type(phase) in phases.MOVES[type(before)], f"{self.name}: {before} cannot become {phase}"
        self._phase = phase

    # -- the beginning

    def _begin(self, fact: Began) -> None:
        payload, first_seq, seed = self._payload, self.first_seq, self._seed
        if begins_again(fact):
            payload, first_seq = bytes(fact.input), self._seq - 1
            seed = f"{self.gid}@{first_seq}"
        try:
            args = self._workflow.signature.decode_args(payload)
        except FlowtxError as error:
            # It fitted when it was accepted, so the code has changed; to fail now could leave steps that happened.
            raise mismatch.input_misfit(self.name, self._workflow.where, error.message) from error
        if fact.heard:
            self.dialogue.remember(fact.heard, fact.answered)
        self._payload, self.first_seq, self._seed = payload, first_seq, seed
        self.is_prepared = fact.is_prepared
        self.parent = fact.parent
        self._version = fact.version
        if fact.starts_at is None:
            self._launch(args)
        else:
            self._move(phases.Delayed(args, fact.starts_at, waits_for_place=fact.place is not None))
            timer = Sleep(until_at=fact.starts_at, where=self._workflow.where, name="start")
            self.set_timer(START, timer, self._start)

    def _start(self) -> None:
        """Its time has come; it sees the time it was meant for, or when its turn came if it had to wait for one."""
        delayed = self._phase
        assert isinstance(delayed, phases.Delayed), self
        if not delayed.waits_for_place:
            self._at = delayed.starts_at
        self._launch(delayed.args)

    def _launch(self, args: tuple[object, ...]) -> None:
        scope = Status(None)
        self._move(phases.Running(scope))
        self._root = Task(self._workflow.fn(Tx(self), *args), "", scope)
        self._ready.append(self._root)

    # -- words from outside

    def _cancel(self, reason: str) -> None:
        """Cancel the scope around everything; compensations already under way go on."""
        phase = self._phase
        if isinstance(phase, phases.Running):
            self._cancel_scope(phase.scope, reason)
        elif isinstance(phase, phases.Delayed):
            self.drop_timer(START)
            self._turn_round(Cancelled(reason))
        elif isinstance(phase, phases.Held):
            self._turn_round(Cancelled(reason))

    def _cancel_scope(self, scope: Status, reason: str) -> None:
        if scope.is_called:
            return
        if self._root is not None and self._root.status is scope:
            scope.tasks[self._root] = None  # not entered at the start, because most runs are never cancelled
        scope.is_called = True
        scope.reason = reason
        scope.recalculate(self)

    def _keep(self) -> None:
        """The parent has succeeded; whoever is not held has heard that before."""
        if isinstance(self._phase, phases.Held):
            self._confirm(self._phase.end)

    def _stop(self, reason: str) -> None:
        undone = [asked for asked in self._asked.values() if isinstance(asked.command, Compensate)]
        failing = tuple(asked.error for asked in undone if asked.error is not None)
        self._move(phases.Ended(stopped_end(reason, failing)))
        self._drop_rest()

    # -- the end of the workflow's code

    def restart(self, args: tuple[object, ...]) -> Restarting:
        """What to raise to let the run end here and begin again with other input."""
        self.speaking()
        if self.parent:
            raise WorkflowError(
                f"{self.name} is a child and cannot restart: its parent has still to say whether it is kept",
                remedy="Let the parent loop, or begin it with tx.detach.",
            )
        return Restarting(self._workflow.signature.encode_args(args))

    def _root_ended(self, value: object, error: BaseException | None) -> None:
        if self._others:  # only misnested nurseries leave anybody behind
            self._drop_rest()
        phase = self._phase
        assert isinstance(phase, phases.Running), self
        if error is None and not phase.scope.is_called:
            self._return(value)
            return
        again = restarting(error)
        if error is not None and again is None:
            error = foreign_call(self.name, error) or error
            if phase.scope.is_called:  # what cancelling the run threw in is no error of it
                _, rest = split_cancelled(error)
                error = rest if rest is not None else Cancelled(phase.scope.reason)
            self._turn_round(error)
        elif again is None or phase.scope.is_called:
            # It swallowed the cancellation; whoever cancelled is owed the way back.
            self._turn_round(Cancelled(phase.scope.reason))
        else:
            self._confirm(again)

    def _return(self, value: object) -> None:
        try:
            encoded = self._workflow.signature.result.encode(value, what=f"the result of {self.name}")
        except FlowtxError as unfit:
            self._turn_round(unfit)
            return
        end = Ended(status="succeed", value=msgspec.Raw(encoded))
        if self.parent:
            self._move(phases.Held(end))
        else:
            self._confirm(end)

    # -- settling

    def _confirm(self, end: Ended | Restarting) -> None:
        """Nothing can turn the run round any more: do what waited for its success, then come to its end."""
        due = confirmations_of(self._registered.values()) if self._confirms else None
        if due is None:
            self._end(end)
            return
        self._move(phases.Confirming(end))
        self.spawn(Task(self.settle(due, is_newest_first=False), "m", Status(None), self._settled))

    def _turn_round(self, error: BaseException) -> None:
        """The workflow failed: take back what it did, then end."""
        end = Ended(status="failed", error=encode_error(error, with_trace=True))
        due = compensations_of(self._registered.values()) if self._registered else None
        if due is None:
            self._end(end)
            return
        self._move(phases.Compensating(end))
        self.spawn(Task(self.settle(due, is_newest_first=True), "c", Status(None), self._settled))

    def open_savepoint(self, where: str) -> AbstractAsyncContextManager[None]:
        """The block of a savepoint."""
        self.speaking()
        return Savepoint(self, where)

    async def settle(self, due: TaskDue, is_newest_first: bool) -> None:
        """One task's part of it: in a scope of its own, which nothing cancels."""
        for item in due.in_order(is_newest_first=is_newest_first):
            if isinstance(item, Due):
                if item.step_address in self._doubtful:
                    await self._decision(item.step_address)
                command = item.command
                if command is not None:
                    await Ask(command, item.address)
            elif len(item) == 1:
                await self.settle(item[0], is_newest_first)
            else:
                async with NurseryBlock(self, "") as nursery:
                    for branch in item:
                        nursery.start_soon(self.settle, branch, is_newest_first)

    def _settled(self, task: Task, error: BaseException | None) -> None:
        if error is not None:
            raise AssertionError(f"{self.name}: it was settled with {error!r}; the engine must retry") from error
        phase = self._phase
        assert isinstance(phase, phases.Confirming | phases.Compensating), self
        self._end(phase.end)

    def _end(self, end: Ended | Restarting) -> None:
        if isinstance(end, Ended):
            self._move(phases.Ended(end))
            return
        beginning = fresh_journal(self._workflow.name, self._version, end.payload, self._dialogue)
        self._move(phases.Restarting(beginning))


NEW = phases.New()
