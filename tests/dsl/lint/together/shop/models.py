"""Models with methods that workflows call."""

import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime


@dataclass
class Order:
    id: str
    lines: list[str] = field(default_factory=list)
    made_at: float = 0.0

    def __post_init__(self) -> None:
        self.made_at = time.time()  # expect: FTX001

    def is_late(self) -> bool:
        return datetime.now().hour > 3  # expect: FTX001

    @property
    def total(self) -> int:
        return len(self.lines)
