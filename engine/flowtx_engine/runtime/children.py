"""Children: transactions that are steps of another one.

The law of this file: a child is a transaction like any other, with a journal of its own, and its gid is fixed by its
place in its parent, so beginning it twice is beginning it once. It returns a value and then waits: what it did is
neither final nor taken back before its parent says so. Whoever was never begun, and must be taken back, is begun as
ended, so that no late attempt can begin it.
"""

from __future__ import annotations

from typing import Protocol

import msgspec
import trio

from flowtx_dsl.error_codec import ErrorRecord, decode_error
from flowtx_dsl.errors import FlowtxError, GidTaken, Ongoing, PayloadError, TransactionFailed, WorkflowError
from flowtx_dsl.targets import ChildTarget
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.calls.attempt import Attempt, Outcome, Performer
from flowtx_engine.journal.errors import JournalError
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import AnyFact, Began, Cancelled, Event, Kept
from flowtx_engine.runtime.outside import Decide, Told
from flowtx_engine.runtime.starting import check_same

PATTERN = "workflow"
MISUSE = (GidTaken, PayloadError, WorkflowError)
"""No repetition helps: the workflow gets these at once."""


class House(Protocol):
    """What children need of the engine they live in."""

    async def create(
        self, workflow: AnyWorkflow, payload: bytes, *, gid: str, pattern: str, parent: str = "", begun_by: str = ""
    ) -> tuple[Transaction, bool]:
        """Begin a child, or find the transaction that has its gid."""
        ...

    async def prepare(
        self, workflow: AnyWorkflow, payload: bytes, *, gid: str, pattern: str
    ) -> tuple[Transaction, bool]:
        """Store a transaction without running it, or find the one that has its gid."""
        ...

    async def stop(self, gid: str, *, reason: str = "") -> None:
        """End a transaction by force."""
        ...

    async def changed(self, gid: str) -> None:
        """Wait until there is reason to look at a transaction again."""
        ...

    async def tell(self, gid: str, decide: Decide) -> Transaction:
        """Append what ``decide`` makes of a transaction."""
        ...

    async def transaction(self, gid: str) -> Transaction | None:
        """A transaction's row."""
        ...

    async def history(self, gid: str) -> list[Event]:
        """A transaction's journal."""
        ...


class Children:
    """A performer that performs steps which are children, and hands all others on."""

    def __init__(self, house: House, others: Performer, *, patience_s: float) -> None:
        """A child that takes longer than ``patience_s`` is left alone: its parent can be parked until it is told."""
        self._patience_s = patience_s
        self._house = house
        self._others = others

    async def perform(self, attempt: Attempt) -> Outcome:
        """Make one attempt; never raises but when it is cancelled."""
        target = attempt.command.call.target
        if not isinstance(target, ChildTarget):
            return await self._others.perform(attempt)
        gid = target.gid or f"{attempt.gid}/{attempt.step_place}"
        try:
            match attempt.op:
                case "action":
                    return await self._begin(target, attempt, gid)
                case "compensate":
                    return await self._take_back(target, attempt, gid)
                case "confirm":
                    return await self._keep(gid)
        except MISUSE as error:
            return Outcome(kind="refused", error=error)
        except (FlowtxError, JournalError) as error:
            return Outcome(kind="unknown", error=error)

    async def _begin(self, target: ChildTarget, attempt: Attempt, gid: str) -> Outcome:
        workflow, payload = target.workflow, attempt.command.call.payload
        parent = "" if target.is_detached else attempt.gid
        row, is_new = await self._house.create(
            workflow, payload, gid=gid, pattern=PATTERN, parent=parent, begun_by=attempt.gid
        )
        if not is_new:
            check_same(row, workflow, payload)
            await self._check_parent(gid, parent)
        if target.is_detached:
            return Outcome(kind="succeeded", value=msgspec.json.encode(gid))
        rested = await self._rested(gid) if attempt.number == 1 else await self._house.transaction(gid)
        return _outcome_of(gid, rested)

    async def _check_parent(self, gid: str, parent: str) -> None:
        began = (await self._house.history(gid))[0].fact
        if isinstance(began, Began) and began.parent != parent:
            whose = f"a child of {began.parent}" if began.parent else "nobody's child"
            raise GidTaken(f"gid {gid} is {whose}, and was asked for by {parent or 'somebody who wants it detached'}")

    async def _take_back(self, target: ChildTarget, attempt: Attempt, gid: str) -> Outcome:
        if await self._house.transaction(gid) is None:
            payload = attempt.command.call.payload
            _, is_new = await self._house.prepare(target.workflow, payload, gid=gid, pattern=PATTERN)
            if is_new:
                await self._house.stop(gid, reason="its parent was taken back")
        return await self._settle(gid, Cancelled(reason=f"its parent {attempt.gid} is taken back"))

    async def _rested(self, gid: str) -> Transaction | None:
        """The child when it has returned or ended; None when that takes long."""
        with trio.move_on_after(self._patience_s):
            while True:
                row = await self._house.transaction(gid)
                if row is not None and has_returned(row):
                    return row
                await self._house.changed(gid)
        return None

    async def _keep(self, gid: str) -> Outcome:
        return await self._settle(gid, Kept())

    async def _settle(self, gid: str, word: AnyFact) -> Outcome:
        """Say the parent's word, once, and see the child end."""

        def decide(row: Transaction, events: list[Event]) -> Told | None:
            has_been_said = any(type(event.fact) is type(word) for event in events)
            return None if row.is_final or has_been_said else Told(facts=(word,))

        row = await self._house.tell(gid, decide)
        if not row.is_final:
            rested = await self._rested(gid)
            row = rested if rested is not None else row
        if row.is_final:
            return Outcome(kind="succeeded")
        return Outcome(kind="ongoing", error=Ongoing(f"child {gid} has not ended yet"))


def has_returned(row: Transaction) -> bool:
    """True when a child has a result, whether or not it may keep it."""
    return row.is_final or row.result is not None


def _outcome_of(gid: str, row: Transaction | None) -> Outcome:
    if row is None or not has_returned(row):
        return Outcome(kind="ongoing", error=Ongoing(f"child {gid} is not done yet"))
    assert row.result is not None, row
    if row.status != "failed":
        return Outcome(kind="succeeded", value=row.result)
    failed = TransactionFailed(gid, row.reason)
    record = msgspec.json.decode(row.result, type=ErrorRecord | None)
    failed.__cause__ = decode_error(record) if record is not None else None
    return Outcome(kind="refused", error=failed)
