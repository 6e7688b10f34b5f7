"""The control API of a server in test mode: time and recovery in the hands of a test."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.compat.web import ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The control API at ``url``."""

    url: str

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request, which must be answered with 200; the answer, read."""
        content = b"" if body is None else json.dumps(body).encode()
        answer = await ask(self.url, method, path, content)
        assert answer.status == 200, answer
        return answer.json if answer.body else None

    async def take_over(self) -> None:
        """Empty the server and stop its own recovery: from here on a test says what is due."""
        await self.ask("PUT", "/settings", {"recovery_enabled": False})
        await self.ask("POST", "/reset")

    async def visit(self, *, due_in_s: float = 180.0, now_in_s: float = 0.0) -> str:
        """Let recovery do for one transaction what time would do; its gid, or "" when none is due.

        Due is what is due before ``due_in_s`` seconds from now; for timeouts the clock is ``now_in_s`` ahead.
        """
        forward = {"now_forward_ms": int(now_in_s * 1000), "cron_forward_ms": int(due_in_s * 1000)}
        return str((await self.ask("POST", "/cron-once", forward))["gid"])

    async def refresh_topics(self) -> None:
        """Let new subscriptions count at once."""
        await self.ask("POST", "/topics/refresh")
