"""What DTM's patterns share: how participants are called, and what a front end says to a run that waits for it.

The law of this file: values and arithmetic only. Whatever a run needs stands in its input or in what it was told, so
that it goes on unchanged when a server's settings change.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import msgspec

from flowtx_dsl.policies import Retry
from flowtx_dsl.remote import ParticipantTarget, participant_target

PAUSE_MAX_S = 3600.0
"""Doubling pauses stop growing here; DTM's grow for ever (spec 12.7)."""
TIMEOUT_MAX_S = 100 * 365 * 86_400
"""A longer timeout is kept as this one, which calendars can spell."""
WORD = "word"
"""The name of the signal by which a front end speaks to a run."""


class Calling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the participants of one transaction are called.

    ``request_timeout_s`` limits each call. ``retry_interval_s`` is the base of its pauses, in seconds: a participant
    that answers "ongoing" is asked again after it, the k-th consecutive fault is followed by it times 2 to the k.
    ``branch_headers`` travel with every call; ``protocol`` and a branch's URL say over which transport (spec 3.1).
    """

    request_timeout_s: float
    retry_interval_s: float
    branch_headers: tuple[tuple[str, str], ...] = ()
    protocol: str = "http"

    @property
    def retry(self) -> Retry:
        """When a call that had no outcome is repeated."""
        return retry_of(self.retry_interval_s)

    def target(self, trans_type: str, branch_id: str, op: str, url: str) -> ParticipantTarget:
        """Whom to ask for a branch's op; an empty URL is done without a call."""
        return participant_target(
            self.protocol, url, trans_type=trans_type, branch_id=branch_id, op=op, headers=self.branch_headers
        )


class Word(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a front end says: a branch was registered, go on, turn round (and why), or call whoever can be called now.

    ``data`` is the branch, or what was ordered with the submission.
    """

    kind: Literal["branch", "submit", "abort", "hurry"]
    reason: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


@lru_cache(maxsize=1024)
def retry_of(retry_interval_s: float) -> Retry:
    """DTM's pauses (spec 5.2): doubling from the base, which "ongoing" leaves as it is, and no dice."""
    first_s = 2 * retry_interval_s
    return Retry(first_s=first_s, factor=2.0, cap_s=max(PAUSE_MAX_S, first_s), jitter=0.0)
