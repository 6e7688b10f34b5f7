"""Cron expressions: when a schedule's ticks are. Pure.

The law of this file: ticks are instants, in seconds since the epoch, read from the wall clock of a time zone as
Debian's cron does: a time that the clock jumps over comes when it has jumped, a time that comes twice is taken once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from flowtx_dsl.errors import WorkflowError


class Cron:
    """One expression in one time zone."""

    def __init__(self, expression: str, timezone: str) -> None:
        """Raises ``WorkflowError`` for an expression or a time zone that there is not, and for one without any tick."""
        self._expression = expression
        self._timezone = _zone_of(timezone)
        try:
            self.next_after(0.0)
        except (CronSimError, StopIteration) as error:
            told = str(error) or "it never comes"
            raise WorkflowError(
                f"the cron expression {expression!r} cannot be used: {told}",
                remedy='Write minute, hour, day of the month, month and day of the week: "0 3 * * 1-5".',
            ) from error

    def after(self, instant: float) -> Iterator[float]:
        """The ticks after an instant, one after another."""
        for tick in CronSim(self._expression, datetime.fromtimestamp(instant, self._timezone)):
            yield tick.timestamp()

    def next_after(self, instant: float) -> float:
        """The first tick after an instant."""
        return next(self.after(instant))

    def last_before(self, instant: float) -> float:
        """The last tick before an instant."""
        before = CronSim(self._expression, datetime.fromtimestamp(instant, self._timezone), reverse=True)
        return next(before).timestamp()


def _zone_of(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise WorkflowError(
            f"there is no time zone {name!r}",
            remedy="Write a name such as Europe/Berlin or UTC; a machine without time zones needs: pip install tzdata.",
        ) from error
