"""The log as an observer: what went wrong with which transaction, and how each ended.

The law of this file: no payloads. Reasons and errors are texts of participants, and what operators need most.
"""

from __future__ import annotations

import logging

from flowtx_engine.journal.records import Transaction
from flowtx_engine.runtime.observer import Fault, Observer

log = logging.getLogger("flowtx.transactions")
access = logging.getLogger("flowtx.access")


class LogObserver(Observer):
    """Logs faults as warnings, failed transactions for information, and the others for debugging."""

    def faulted(self, fault: Fault) -> None:
        """See ``Observer.faulted``."""
        log.warning(
            "%s failed, %d in a row",
            fault.name,
            fault.fault_count,
            extra={"gid": fault.gid, "address": fault.address, "status": fault.status, "error": fault.error},
        )

    def rested(self, row: Transaction, error: Exception | None) -> None:
        """See ``Observer.rested``; that a transaction is stuck was said when it happened."""
        if row.is_final:
            level = logging.DEBUG if row.status == "succeed" else logging.INFO
            extra = {"gid": row.gid, "pattern": row.pattern, "status": row.status, "reason": row.reason}
            log.log(level, "transaction ended", extra=extra)


def log_request(kind: str, api: str, status: int, elapsed_s: float) -> None:
    """A request was answered: successes are for debugging, what was not done is for information."""
    level = logging.DEBUG if status < 400 else logging.INFO
    if access.isEnabledFor(level):
        extra = {"type": kind, "api": api, "status": status, "elapsed_ms": round(elapsed_s * 1000, 3)}
        access.log(level, "request answered", extra=extra)
