"""A DTM server under test, as the compatibility tests see it: a base URL, and the checks' own vocabulary."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import trio

from tests.compat.web import ANSWER_MAX_S, Answer, Participant, ask

API = "/api/dtmsvr"
SUCCESS = b'{"dtm_result":"SUCCESS"}'

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dtm:
    """The server at ``url``."""

    url: str

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

    async def is_stored(self, gid: str) -> bool:
        """True when the server knows the gid."""
        return (await self.query(gid))["transaction"] is not None

    async def until(self, gid: str, status: str, *, timeout_s: float = ANSWER_MAX_S) -> dict[str, Any]:
        """The transaction, once it has a status."""
        with trio.fail_after(timeout_s):
            while (found := await self.transaction(gid))["status"] != status:  # noqa: ASYNC110 - seen through a socket
                await trio.sleep(0.01)
        return found


def new_gid() -> str:
    """A gid no other test has."""
    return f"gid-{next(_numbers)}"


def saga(participant: Participant, *actions: str, **more: object) -> dict[str, Any]:
    """A saga whose step ``/a`` is taken back by ``/a-undo``, with the payload ``{"step":"/a"}``."""
    steps = [{"action": participant.url + path, "compensate": f"{participant.url}{path}-undo"} for path in actions]
    payloads = [json.dumps({"step": path}) for path in actions]
    return {"gid": new_gid(), "trans_type": "saga", "steps": steps, "payloads": payloads, **more}
