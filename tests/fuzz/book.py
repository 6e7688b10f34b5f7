"""What was sent and what came back, by attacker; and what was found, with the bytes that led to it.

The law of this file: nothing is judged here. Of one kind of finding the first few are kept, and all are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

KEPT_OF_A_KIND = 3


@dataclass
class Book:
    """The counts and findings of one run; findings are saved in ``folder``."""

    folder: Path
    sent: Counter[str] = field(default_factory=Counter[str])
    came: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    found: Counter[str] = field(default_factory=Counter[str])

    def note(self, attacker: str, came: str) -> None:
        """Something was sent, and this came back: a status, a code, or how the connection ended."""
        self.sent[attacker] += 1
        self.came[attacker, came] += 1

    def find(self, kind: str, what: str, request: bytes = b"") -> None:
        """Something is wrong: ``kind`` in a few words, ``what`` in full, and the bytes that were sent."""
        self.found[kind] += 1
        if self.found[kind] > KEPT_OF_A_KIND:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{len(self.found):02d}-{self.found[kind]}"
        (self.folder / f"{name}.txt").write_text(f"{kind}\n\n{what}\n")
        (self.folder / f"{name}.request").write_bytes(request)

    def told(self) -> Mapping[str, Mapping[str, int]]:
        """What came back, by attacker."""
        return {
            attacker: {came: count for (who, came), count in sorted(self.came.items()) if who == attacker}
            for attacker in sorted(self.sent)
        }
