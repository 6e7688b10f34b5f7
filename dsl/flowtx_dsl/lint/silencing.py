"""Silencing: the ``noqa`` comments of a file.

The law of this file: only a comment silences, never a text that looks like one; and it silences the line it stands on.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass

from flowtx_dsl.lint.findings import Finding
from flowtx_dsl.lint.rules import UNREADABLE

_NOQA = re.compile(r"#\s*noqa\b(?P<codes>\s*:\s*[A-Z]+[0-9]+(?:[\s,]+[A-Z]+[0-9]+)*)?(?P<colon>\s*:)?", re.IGNORECASE)
_CODE = re.compile(r"[A-Z]+[0-9]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Silenced:
    """The silenced codes of each line; None stands for all of them."""

    codes: Mapping[int, frozenset[str] | None]

    def covers(self, finding: Finding) -> bool:
        """True when the finding's line silences its code. What cannot be read cannot be silenced."""
        if finding.code == UNREADABLE.code or finding.line not in self.codes:
            return False
        codes = self.codes[finding.line]
        return codes is None or finding.code in codes


def silenced_in(text: str) -> Silenced:
    """The comments of a text that is valid Python."""
    codes: dict[int, frozenset[str] | None] = {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and (found := _NOQA.search(token.string)):
                codes[token.start[0]] = _read(found)
    except (tokenize.TokenError, SyntaxError):
        pass  # the tokenizer in pure Python refuses a few things that the parser takes; what it read so far counts
    return Silenced(codes=codes)


def _read(found: re.Match[str]) -> frozenset[str] | None:
    if found["codes"] is not None:
        return frozenset(code.upper() for code in _CODE.findall(found["codes"]))
    return frozenset() if found["colon"] else None  # a colon, but no code after it, silences nothing
