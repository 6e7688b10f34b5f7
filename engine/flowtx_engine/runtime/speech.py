"""What a run says in a log: its gid and address stand in every record, and nothing is said twice.

The law of this file: while a run is replayed, whatever its code logs was logged when it first ran, so it is dropped.
That is done where records are made, so that it holds for every logger and handler, whoever set them up.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any

from flowtx_dsl.current import current_or_none

DROPPED = -1
"""A level below every handler's."""

_gid: ContextVar[str] = ContextVar("flowtx_speaking_gid", default="")
_is_replaying: ContextVar[bool] = ContextVar("flowtx_is_replaying", default=False)


def speak_for(gid: str) -> None:
    """What this task logs from now on, it logs for this run."""
    _gid.set(gid)


@contextlib.contextmanager
def replaying(gid: str) -> Generator[None]:
    """Drop what is logged in the block."""
    gid_before, before = _gid.set(gid), _is_replaying.set(True)
    try:
        yield
    finally:
        _is_replaying.reset(before)
        _gid.reset(gid_before)


def watch_records() -> None:
    """From now on, records hold ``flowtx_gid``, ``flowtx_address`` and ``flowtx_attempt``, and replays make none.

    The prefix keeps them apart from what callers hand over as ``extra``, which must not be there already.
    """
    if not isinstance(logging.getLogRecordFactory(), _Factory):
        logging.setLogRecordFactory(_Factory(logging.getLogRecordFactory()))


class _Factory:
    """Makes records with the factory that was there before."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._make(*args, **kwargs)
        if _is_replaying.get():
            record.levelno = DROPPED
            return record
        step = current_or_none()
        gid = step.gid if step is not None else _gid.get()
        if gid:
            record.flowtx_gid = gid
        if step is not None:
            record.flowtx_address = step.address
            record.flowtx_attempt = step.attempt
        return record
