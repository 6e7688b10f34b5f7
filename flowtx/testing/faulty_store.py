"""A journal that fails on purpose, at commits chosen by a plan.

The law of this file: it adds faults and nothing else. What its plan lets pass goes to the store inside unchanged, so
with a plan that never strikes it is that store. It throws no dice: the plan decides, and Hypothesis or a simulator owns
it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.journal.records import Write
from flowtx_engine.journal.store import Store, WriteResult
from flowtx_engine.journal.store_before import StoreBefore


class CommitFault(enum.Enum):
    """How a commit fails: both ways look the same to the caller."""

    NOTHING_WRITTEN = "nothing is written"
    ANSWER_LOST = "all is written, and the answer is lost"


Plan = Callable[[int, Sequence[Write]], CommitFault | None]
"""Gets a commit's ordinal, from 0, and its writes; gives the fault that strikes it, or None."""


def no_faults(ordinal: int, writes: Sequence[Write]) -> CommitFault | None:
    """The plan that never strikes."""
    del ordinal, writes
    return None


class FaultyStore(StoreBefore):
    """A ``Store`` around another one; ``commit_count`` is how many commits were tried, failed ones included."""

    def __init__(self, inner: Store, plan: Plan = no_faults) -> None:
        super().__init__(inner)
        self.commit_count = 0
        self._plan = plan

    def __repr__(self) -> str:
        return f"<FaultyStore after {self.commit_count} commits on {self._inner!r}>"

    def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
        """See ``Store.commit``; the plan is asked first."""
        ordinal = self.commit_count
        self.commit_count += 1
        match self._plan(ordinal, writes):
            case CommitFault.NOTHING_WRITTEN:
                raise _struck(ordinal)
            case CommitFault.ANSWER_LOST:
                self._inner.commit(writes)
                raise _struck(ordinal)
            case None:
                return self._inner.commit(writes)


def _struck(ordinal: int) -> JournalUnavailable:
    # The message must not tell the two faults apart, for no database would.
    return JournalUnavailable(f"commit {ordinal} was struck by the fault plan", remedy="Find out by reading.")
