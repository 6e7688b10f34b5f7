"""What may be shown of a setting: passwords never are, not by a command and not in a log.

The law of this file: whoever shows a setting asks here first, and what might be a password counts as one.
"""

from __future__ import annotations

import re
from typing import Any

# Up to the last @, because a password may hold one, and slashes.
_PASSWORD = re.compile(r"(://[^:/@]*):.*@")
_PATH = re.compile(r"(://[^/?#]*)[/?#].*")
_IN_QUERY = re.compile(r"([?&](?:password|passwd|pwd|secret|token|key|access_token|sig)=)[^&#]*", re.IGNORECASE)


def without_password(url: str) -> str:
    """A URL, fit to be shown."""
    return _IN_QUERY.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))


def shown(name: str, value: Any) -> Any:
    """The value of a setting, fit to be shown."""
    if name == "alert_web_hook":  # with many services its path is what lets one in
        return _PATH.sub(r"\1/***", without_password(value))
    return without_password(value) if isinstance(value, str) else value
