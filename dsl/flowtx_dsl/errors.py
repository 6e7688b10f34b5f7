"""The errors of flowtx: one tree, a class per situation.

The law of this file: a message names the thing, what was found and what was expected; ``remedy`` says what to do, in
the imperative, and is shown after an arrow. The first three classes are words of the language: a person raises them.
"""

from __future__ import annotations

import enum


class FlowtxError(Exception):
    """The root of everything flowtx raises on purpose."""

    remedy: str = ""

    def __init__(self, message: str = "", *, remedy: str = "") -> None:
        super().__init__(message)
        if remedy:
            self.remedy = remedy

    @property
    def message(self) -> str:
        """What happened, without the remedy."""
        return str(self.args[0]) if self.args else ""

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.remedy}" if self.remedy else self.message


class Refused(FlowtxError):
    """Raised by a step: a final business "no". The step is not retried; the workflow sees this error.

    Remote participants say it with 409 or the word FAILURE (spec 3.2).
    """


class Ongoing(FlowtxError):
    """Raised by a step: not finished yet, ask again later. Costs no attempt.

    Remote participants say it with 425 or the word ONGOING (spec 3.2).
    """


class Abort(FlowtxError):
    """Raised by a workflow: compensate everything and end as failed, with this reason."""


class RemoteError(FlowtxError):
    """Stands for an exception whose type cannot be rebuilt here; keeps its name and text."""

    def __init__(self, type_name: str, text: str) -> None:
        super().__init__(f"{type_name}: {text}" if text else type_name)
        self.args = (type_name, text)
        self.type_name = type_name
        self.text = text

    @property
    def message(self) -> str:
        """The original name and text."""
        return f"{self.type_name}: {self.text}" if self.text else self.type_name


class StepFault(FlowtxError):
    """A call had no usable outcome: refused connection, unexpected status, timeout. Retried by the step's policy."""


class StepTimeout(StepFault):
    """An attempt took longer than the step's ``timeout_s``; whether it happened is unknown."""


class PayloadError(FlowtxError):
    """A value cannot be encoded, or does not fit the annotation it must fit; names the field."""


class WorkflowError(FlowtxError):
    """A workflow or a step is declared or called in a way that cannot work."""


class TransactionFailed(FlowtxError):
    """The transaction ended as failed; its compensations ran. ``__cause__`` is the error that turned it round."""

    def __init__(self, gid: str, reason: str) -> None:
        super().__init__(f"transaction {gid} failed: {reason}" if reason else f"transaction {gid} failed")
        self.gid = gid
        self.reason = reason


class GidTaken(FlowtxError):
    """The gid belongs to another transaction: another workflow, or another input."""

    remedy = "Use a fresh gid, or repeat the call exactly to get the existing transaction."


class NoSuchTransaction(FlowtxError):
    """No transaction has this gid."""


class NoSuchWorkflow(FlowtxError):
    """No workflow of this name and version is loaded."""

    remedy = "Import the module that defines it and pass it to flowtx.open(..., workflows=[...])."


class QueryError(FlowtxError):
    """A run cannot answer a query: it exposes nothing of that name, or its function failed."""


class Unanswered(FlowtxError):
    """A run ended without answering an update, or began again and keeps no answer to it."""


class Overloaded(FlowtxError):
    """A limit is reached; nothing was stored. Come back later."""

    remedy = "Retry later, or raise the limit that the message names."


class EngineClosed(FlowtxError):
    """The engine is shutting down and takes no new work; nothing was stored."""


class RunClosed(FlowtxError):
    """A word of ``tx`` was used where no run is being driven: after the run was dropped, or outside its workflow."""

    remedy = "Use tx only inside the workflow it was given to; a dropped run performs nothing in its finally blocks."


class ForeignAwaitError(FlowtxError):
    """A workflow awaited something that is not a word of ``tx``; it would not be journaled."""

    remedy = (
        "Put the I/O into a function and call it with tx.step(...); wait with tx.sleep(...), "
        "branch with tx.open_nursery(), limit with tx.move_on_after(...)."
    )


class NondeterminismError(FlowtxError):
    """A run asked for something else than its history holds; nothing was performed and the run waits as it is."""

    remedy = (
        'Guard the change with tx.changed("..."), or register it as a new version: runs in flight stay on theirs. '
        "Until then, put back the code this run began with."
    )


class TooSlowError(FlowtxError):
    """The deadline of ``tx.fail_after`` or ``tx.fail_at`` came before the block had ended."""


class WouldBlock(FlowtxError):
    """A ``_nowait`` word would have had to wait."""


class ClosedResourceError(FlowtxError):
    """This end of a channel was closed, by this task or another."""


class BrokenResourceError(FlowtxError):
    """Every receiver of a channel is closed, so nobody can take what is sent."""


class EndOfChannel(FlowtxError):
    """Every sender of a channel is closed and nothing is left in it."""


class Cancelled(BaseException):
    """Thrown into what a cancel scope, or ``engine.cancel``, cancels. Let it pass, as with ``trio.Cancelled``."""


class Unknown(enum.Enum):
    """The type of ``UNKNOWN``; an enum of one member, so that type checkers can tell it apart by ``is``."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown.UNKNOWN
"""What a compensation gets in place of its step's result when nobody knows whether the step happened."""
