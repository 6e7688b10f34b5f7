"""What no answer may show of the server's inside, over any transport."""

from __future__ import annotations

import re

INSIDE = re.compile(
    r"Traceback|File \"|\.py\b|sqlite|SQLAlchemy|SELECT |INSERT |UPDATE |PRAGMA|flowtx\.db|flowtx_|internal error"
    r"|Exception (calling|iterating)|nobody foresaw",
    re.I,
)
"""Stacks, paths, SQL, names of modules, words of libraries, or that something was not foreseen."""
