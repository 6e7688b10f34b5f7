"""From what DTM has done to the journal that flowtx would have written had it done the same.

The law of this file: the run itself says what comes next. What it waits for is looked up in DTM's rows, and what is
done there is fed to it, as if its participant had just answered; so replay accepts the journal, and nothing that is
done is asked for again. A row that is done and that the run does not wait for is a refusal, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from flowtx.dtm.branches import Place, place_of
from flowtx.dtm.operations.telling import fact_of
from flowtx.dtm.takeover.ordered import Ordered
from flowtx.dtm.takeover.records import CannotTakeOver, DtmBranch, DtmTransaction
from flowtx_dsl.commands import Sleep
from flowtx_dsl.error_codec import encode_error
from flowtx_dsl.errors import Refused as RefusedError
from flowtx_dsl.errors import StepFault
from flowtx_dsl.patterns.callback import callback
from flowtx_dsl.patterns.msg import msg
from flowtx_dsl.patterns.saga import saga
from flowtx_engine.journal.records import Status
from flowtx_engine.kernel.events import (
    AnyFact,
    Began,
    Cancelled,
    Event,
    Failed,
    Fired,
    Refused,
    Succeeded,
)
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked
from flowtx_engine.runtime.history import reason_of

LOST = "fail message lost"
"""What DTM says for a refusal whose message it did not keep (spec 4.2)."""
_LIMIT_REASON = "RetryCount is greater than RetryLimit"
_TIMEOUT_REASON = "Timeout after"


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A run as far as DTM has brought it; ``wake_at`` is when somebody must drive it, None: once it is told more."""

    events: tuple[Event, ...]
    status: Status
    wake_at: float | None
    reason: str


def history_of(found: DtmTransaction, ordered: Ordered, *, now_at: float) -> History:
    """The journal of a run that stands where DTM's transaction does; raises ``CannotTakeOver``."""
    run = _Run(found, ordered, now_at)
    try:
        run.bring_on()
        return run.history()
    finally:
        run.kernel.close()


@dataclass(slots=True)
class _Done:
    """A row that DTM has an outcome for, and whether the run knows of it by now."""

    row: DtmBranch
    is_known: bool = False


class _Run:
    """One run, being brought to where DTM's transaction is."""

    def __init__(self, found: DtmTransaction, ordered: Ordered, now_at: float) -> None:
        self.kernel = Kernel(ordered.workflow, ordered.payload, gid=found.gid)
        self._found = found
        self._ordered = ordered
        self._now_at = now_at
        self._events: list[Event] = []
        self._was_asked: set[tuple[str, str]] = set()
        # What the client of a workflow has reported is told to the run, and no outcome of a call.
        rows = () if ordered.workflow is callback else found.branches
        self._done = {(row.branch_id, row.op): _Done(row) for row in rows if row.status != "prepared"}
        self._refused = [done for done in self._done.values() if done.row.status == "failed"]

    def bring_on(self) -> None:
        """Feed everything that DTM knows."""
        self._check_refusals()
        name, version = self._ordered.workflow.name, self._ordered.workflow.version
        began = Began(workflow=name, version=version, is_prepared=self._ordered.is_prepared)
        self._feed("", began, self._found.created_at)
        for said in self._ordered.said:
            self._feed("", fact_of(said.word), said.at)
        if self._ordered.workflow is msg and self._found.status == "submitted" and self._done:
            self._end_delay()
        must_turn = self._ordered.workflow is saga and (self._found.status == "aborting" or bool(self._refused))
        if must_turn:
            # A run whose last action is done has succeeded, so one that turned round all the same turns before that.
            held = (self._ordered.last_action, "action")
            self._take_succeeded(except_for=held if not self._refused else None)
            self._turn_round()
        self._take_succeeded()
        self._check_all_known()

    def history(self) -> History:
        """What was fed, and where the run stands; raises ``CannotTakeOver`` when that is not where DTM says."""
        kernel, found = self.kernel, self._found
        status: Status = kernel.status
        if kernel.ended is not None:  # whoever drives it writes that down
            status = "aborting" if kernel.ended.status == "failed" else "submitted"
        is_turning = found.status == "submitted" and status == "aborting" and bool(self._refused)
        if status != found.status and not is_turning:
            raise CannotTakeOver(
                f"DTM says that it is {found.status}, but with its branches flowtx's would be {status}"
            )
        return History(
            events=tuple(self._events),
            status=status,
            wake_at=self._wake_at(),
            reason=reason_of(kernel.cause),
        )

    # -- feeding

    def _feed(self, address: str, fact: AnyFact, at: float | None) -> None:
        """One more event; an instant that is not known is that of the event before, and time never goes backwards."""
        last_at = self._events[-1].at if self._events else 0.0
        begins_at = self._now_at if at is None and not self._events else at
        at = max(last_at, min(begins_at or 0.0, self._now_at))
        event = Event(seq=len(self._events), at=at, address=address, fact=fact)
        for order in self.kernel.feed(event):
            if isinstance(order, Asked) and (place := place_of(order)) is not None:
                self._was_asked.add(_key(place))
        self._events.append(event)

    def _take_succeeded(self, except_for: tuple[str, str] | None = None) -> None:
        """Tell the run of what succeeded, as long as it waits for something of that."""
        while True:
            for asked, done in self._waiting_done():
                key = (done.row.branch_id, done.row.op)
                if done.row.status == "succeed" and key != except_for:
                    done.is_known = True
                    self._feed(asked.address, Succeeded(call=asked.record), done.row.finished_at)
                    break
            else:
                return

    def _waiting_done(self) -> list[tuple[Asked, _Done]]:
        return [
            (asked, done)
            for asked in self.kernel.waiting
            if (place := place_of(asked)) is not None and (done := self._done.get(_key(place))) is not None
        ]

    def _end_delay(self) -> None:
        """A message that was delivered to somebody has waited for its delay."""
        for asked in self.kernel.waiting:
            self._fire(asked)

    def _fire(self, asked: Asked) -> bool:
        """A timer's time came, before anything else that DTM did; False for one whose time is still to come."""
        command = asked.command
        if not isinstance(command, Sleep) or command.until_at > self._now_at:
            return False
        self._feed(asked.address, Fired(until_at=command.until_at, where=command.where), command.until_at)
        return True

    # -- the way back of a saga

    def _turn_round(self) -> None:
        """Let happen to the run what turned DTM's saga round."""
        reason = self._found.rollback_reason
        for asked, done in self._waiting_done():
            if done.row.status == "failed":
                done.is_known = True
                error = encode_error(RefusedError(_message_of(done.row, reason)))
                self._feed(asked.address, Refused(call=asked.record, error=error), done.row.finished_at)
                return
        if reason.startswith(_TIMEOUT_REASON) and any(self._fire(asked) for asked in self.kernel.waiting):
            return
        if reason.startswith(_LIMIT_REASON) and self._ordered.retry_limit:
            self._use_up_calls()
            return
        self._feed("", Cancelled(reason=reason), None)

    def _use_up_calls(self) -> None:
        """So many calls had no outcome that no more were allowed."""
        for _ in range(self._ordered.retry_limit + 1):
            asked = next((asked for asked in self.kernel.waiting if place_of(asked) is not None), None)
            if asked is None or self.kernel.phase != "running":
                return
            fault = StepFault("it had no outcome when DTM called it")
            self._feed(asked.address, Failed(call=asked.record, error=encode_error(fault)), None)

    # -- what cannot be

    def _check_refusals(self) -> None:
        for done in self._refused:
            if self._ordered.workflow is not saga or done.row.op != "action":
                raise CannotTakeOver(
                    f"branch {done.row.branch_id} {done.row.op} has failed, which only the action of a saga can"
                )

    def _check_all_known(self) -> None:
        for key, done in self._done.items():
            # An action that was given up when the run turned round is taken back, whatever became of it.
            is_settled = done.row.op == "action" and key in self._was_asked and self._ordered.workflow is saga
            if not done.is_known and not is_settled:
                raise CannotTakeOver(
                    f"branch {done.row.branch_id} {done.row.op} is done in DTM, but flowtx would come to it only later "
                    "and would then call it again"
                )

    def _wake_at(self) -> float | None:
        if self.kernel.ended is not None:
            return self._now_at
        due = [
            asked.command.until_at if isinstance(asked.command, Sleep) else self._now_at
            for asked in self.kernel.waiting
        ]
        return min(due, default=None)


def _key(place: Place) -> tuple[str, str]:
    return place.branch_id, place.op


def _message_of(row: DtmBranch, reason: str) -> str:
    """What a participant said when it refused; the reason that DTM keeps has its URL before it (spec 3.5)."""
    return reason.removeprefix(f"url:{row.url} return failed: ") or LOST
