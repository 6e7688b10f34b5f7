"""A finding: one place in a file that breaks replay, and what to write instead.

The law of this file: a finding is a value that can be sorted and printed without the file it is about.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """What was found where; ``line`` and the columns count from 1, in characters, ``end_column`` is behind the last."""

    path: str
    line: int
    column: int
    end_column: int
    code: str
    message: str
    remedy: str

    @property
    def sentence(self) -> str:
        """Message and remedy on one line."""
        return f"{self.message}; {self.remedy[:1].lower()}{self.remedy[1:]}"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.code} {self.sentence}"
