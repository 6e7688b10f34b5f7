"""Instants and lengths of time as a person types them.

The law of this file: an instant without an offset is one of this machine's zone, as everything else in a shell is.
"""

from __future__ import annotations

import re
from datetime import datetime

from flowtx.cli.failures import Misused

_UNITS = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_LENGTH = re.compile(r"(?P<count>\d+(\.\d+)?) ?(?P<unit>[a-z]*)")


def instant_of(text: str) -> datetime:
    """``2026-12-24T18:00``, with or without an offset; raises ``Misused``."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise Misused(
            f"--at {text} is no instant: {error}\n"
            "  -> Write date and time, 2026-12-24T18:00 (this machine's zone) or 2026-12-24T18:00+01:00."
        ) from error


def seconds_of(text: str, option: str = "--delay") -> float:
    """``90``, ``90s``, ``10min``, ``2h`` or ``3d`` in seconds; raises ``Misused``, which names the option."""
    found = _LENGTH.fullmatch(text.strip())
    if found is None or found["unit"] not in _UNITS:
        raise Misused(f"{option} {text} is no length of time\n  -> Write 90s, 10min, 2h or 3d.")
    return float(found["count"]) * _UNITS[found["unit"]]


def when_of(at: str | None, delay: str | None) -> tuple[datetime | None, float | None]:
    """What ``--at`` and ``--delay`` say; raises ``Misused`` for both at once."""
    if at is not None and delay is not None:
        raise Misused("--at and --delay were both given, and a run starts once\n  -> Leave one of them out.")
    return None if at is None else instant_of(at), None if delay is None else seconds_of(delay)
