"""What every driver of an engine shares."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from flowtx_engine.calls.attempt import Performer
from flowtx_engine.journal.journal import Journal
from flowtx_engine.runtime.clock import Clock
from flowtx_engine.runtime.limits import EngineLimits
from flowtx_engine.runtime.observer import Observers
from flowtx_engine.runtime.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The same for all of them, and none of them changes it."""

    node: str
    journal: Journal
    performer: Performer
    clock: Clock
    dice: random.Random
    limits: EngineLimits
    watch: Watch
    observers: Observers = field(default_factory=Observers)
