"""Why a driver gives a run up."""

from __future__ import annotations

from flowtx_dsl.errors import FlowtxError, NondeterminismError
from flowtx_engine.journal.errors import SchemaError, UnreadablePayload, UnstorableWrite


class LostError(Exception):
    """This node may not drive the transaction any more: let it go without a word."""


class TooLongError(FlowtxError):
    """A run's journal has reached its limit; nothing more is performed."""

    remedy = "Raise journal_events_max, or stop the transaction by force."


STUCK = (NondeterminismError, SchemaError, TooLongError, UnreadablePayload, UnstorableWrite)
"""Errors that no retry can mend, only other code, or the right key: the run waits as it is."""
