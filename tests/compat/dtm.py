"""A DTM server under test, as the compatibility tests see it: a base URL, and the checks' own vocabulary."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import trio

from tests.compat.control import Control
from tests.compat.web import ANSWER_MAX_S, Answer, ask

API = "/api/dtmsvr"
SUCCESS = b'{"dtm_result":"SUCCESS"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Dtm:
    """The server at ``url``; ``grpc`` is ``host:port``, and ``control`` is there when it runs in test mode.

    ``pid`` is its process's when the tests started it.
    """

    url: str
    grpc: str = ""
    control: Control | None = None
    pid: int = 0

    async def ask(self, method: str, path: str, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()) -> Answer:
        """Any request; ``path`` counts from the server's root."""
        return await ask(self.url, method, path, body, headers)

    async def get(self, operation: str) -> Answer:
        """GET an operation, with its query string."""
        return await self.ask("GET", f"{API}/{operation}")

    async def post(self, operation: str, body: object) -> Answer:
        """POST a body: bytes as they are, everything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.ask("POST", f"{API}/{operation}", content)

    async def json_rpc(self, method: str, params: object, **envelope: object) -> Answer:
        """Call a method of the JSON-RPC API."""
        request = {"jsonrpc": "2.0", "id": "an id", "method": method, "params": params, **envelope}
        return await self.ask("POST", "/api/json-rpc", json.dumps(request).encode())

    async def query(self, gid: str) -> dict[str, Any]:
        """What ``query`` says of a gid."""
        answer = await self.get(f"query?gid={quote(gid, safe='')}")
        assert answer.status == 200, answer
        found: dict[str, Any] = answer.json
        return found

    async def transaction(self, gid: str) -> dict[str, Any]:
        """The transaction of a gid."""
        found: dict[str, Any] = (await self.query(gid))["transaction"]
        return found

    async def rows(self, gid: str) -> str:
        """The states of a transaction's branch rows in their order, as the checks write them: ``P S P S``."""
        return " ".join(row["status"][0].upper() for row in (await self.query(gid))["branches"])

    async def ops(self, gid: str) -> list[str]:
        """The branch rows of a transaction in their order, as ``01 compensate``."""
        return [f"{row['branch_id']} {row['op']}" for row in (await self.query(gid))["branches"]]

    async def is_stored(self, gid: str) -> bool:
        """True when the server knows the gid."""
        return (await self.query(gid))["transaction"] is not None

    async def until(self, gid: str, status: str, *, timeout_s: float = ANSWER_MAX_S) -> dict[str, Any]:
        """The transaction, once it has a status."""
        with trio.fail_after(timeout_s):
            while (found := await self.transaction(gid))["status"] != status:  # noqa: ASYNC110 - seen through a socket
                await trio.sleep(0.01)
        return found

    async def visit(self, gid: str, *, due_in_s: float = 180.0, now_in_s: float = 0.0) -> dict[str, Any]:
        """Let recovery visit the transaction, which must be the one that is due; the transaction afterwards."""
        assert self.control is not None
        assert await self.control.visit(due_in_s=due_in_s, now_in_s=now_in_s) == gid
        return await self.transaction(gid)

    async def check_nothing_is_due(self, *, due_in_s: float) -> None:
        """Fail when recovery would find something to visit so many seconds from now."""
        assert self.control is not None
        assert await self.control.visit(due_in_s=due_in_s) == ""
