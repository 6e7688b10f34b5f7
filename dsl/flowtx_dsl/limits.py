"""Limits: how many runs of a workflow may be under way at once, and how many may begin in a second.

The law of this file: a limit is a value; who counts and who waits is the journal's. A run takes its place when it
begins and keeps it to its end, also while it sleeps or another node takes it up after a crash. What finds no free place
waits, first come, first served, and nothing is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from flowtx_dsl.errors import WorkflowError

KEY_CHARS_MAX = 255
"""The longest key of a limit; keys are indexed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most ``concurrency`` runs between beginning and end, and at most ``per_s`` beginnings a second; None: any.

    ``key`` gets the workflow's arguments and returns a text; each key then has the limit for itself. It is asked once,
    when the run is started, and must be quick and without side effects.
    """

    concurrency: int | None = None
    per_s: float | None = None
    key: Callable[..., str] | None = None

    def __post_init__(self) -> None:
        """Raises ``WorkflowError`` for a limit that nothing could keep, or that limits nothing."""
        concurrency, per_s = self.concurrency, self.per_s
        if concurrency is None and per_s is None:
            raise WorkflowError("this Limit limits nothing", remedy="Give it concurrency=, per_s= or both.")
        if concurrency is not None and not (concurrency >= 1 and concurrency == int(concurrency)):
            raise WorkflowError(f"Limit(concurrency={concurrency!r}): expected a whole number of at least 1")
        if per_s is not None and not 0 < per_s < math.inf:
            raise WorkflowError(f"Limit(per_s={per_s!r}): expected a finite number above zero")

    def key_of(self, args: tuple[object, ...], *, what: str) -> str:
        """The key these arguments fall under; raises ``WorkflowError`` when ``key`` gives none."""
        if self.key is None:
            return ""
        try:
            found = cast(object, self.key(*args))
        except Exception as error:  # whatever a user's function raises
            raise WorkflowError(f"the limit's key of {what} raised {type(error).__name__}: {error}") from error
        if not isinstance(found, str):
            raise WorkflowError(f"the limit's key of {what} is {found!r}, expected a text")
        if len(found) > KEY_CHARS_MAX or "\0" in found:
            raise WorkflowError(
                f"the limit's key of {what} has {len(found)} characters, expected at most {KEY_CHARS_MAX}, none of "
                "them NUL"
            )
        return found
