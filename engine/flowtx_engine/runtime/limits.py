"""The engine's limits and times, each with a name."""

from __future__ import annotations

from dataclasses import dataclass, fields

from flowtx_dsl.errors import WorkflowError


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """What one engine may hold and how long it waits; times are in seconds.

    ``active_max``: transactions driven at once; more are refused with ``Overloaded``.
    ``park_after_s``: a run that waits longer than this is dropped from memory until it is due.
    ``heartbeat_s``: how often the node says it is alive; it counts as dead two heartbeats after the last.
    ``poll_s``: how often the node looks for due transactions that nobody drives.
    ``claim_max``: how many it takes at once.
    ``grace_s``: how long calls in flight may go on at shutdown.
    ``payload_bytes_max``: the longest payload, in bytes of JSON: an input, the result of a step, a signal.
    ``journal_events_max``: a run whose journal grows beyond this is stopped in its tracks and says so.
    ``threads_max``: sync step functions running at once.
    ``http_timeout_s``: an HTTP attempt whose step names no timeout.
    ``retention_s``: how long what has ended is kept before it is deleted, with its journal; 0 keeps it for ever.
    ``prune_pause_s``: how often it is looked for; ``prune_max``: how many go in one database transaction.
    ``journal_pause_s``: the first pause after the database failed; doubles up to ``journal_pause_max_s``.
    """

    active_max: int = 10_000
    park_after_s: float = 10.0
    heartbeat_s: float = 2.0
    poll_s: float = 1.0
    claim_max: int = 500
    grace_s: float = 10.0
    payload_bytes_max: int = 16 * 1024 * 1024
    journal_events_max: int = 100_000
    threads_max: int = 40
    http_timeout_s: float = 30.0
    retention_s: float = 7 * 24 * 3600.0
    prune_pause_s: float = 60.0
    prune_max: int = 200
    journal_pause_s: float = 0.05
    journal_pause_max_s: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value >= 0:
                raise WorkflowError(f"EngineLimits({field.name}={value!r}): expected a number, at least zero")
