"""What an attacker works with: the server, the participants, its own dice, and the book."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import trio

from tests.compat.dtm import Dtm
from tests.compat.web import Answer, ask
from tests.fuzz.book import Book
from tests.fuzz.judge import wrong_with_http, wrong_with_rpc
from tests.fuzz.participants import Participants

RPC = "/api/json-rpc"
LOST = (ConnectionError, trio.BrokenResourceError, trio.ClosedResourceError, OSError)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One attacker's: ``name`` is what the book calls it, ``number`` tells it from others of its kind."""

    name: str
    number: int
    dtm: Dtm
    participants: Participants
    book: Book
    dice: Random

    async def ask(self, method: str, target: str, body: bytes = b"") -> Answer | None:
        """One whole request over HTTP, its answer judged and noted; None when there was none."""
        request = f"{method} {target}\n\n".encode() + body
        try:
            answer = await ask(self.dtm.url, method, target, body)
        except trio.TooSlowError:
            self.book.note(self.name, "no answer yet")
            if b"wait_result" not in body:
                self.book.find("no answer in time", target, request)
            return None
        except (*LOST, AssertionError) as error:
            self.book.note(self.name, "broken off")
            self.book.find("a whole request was not answered", repr(error), request)
            return None
        wrong = (
            wrong_with_rpc(answer.status, answer.body)
            if target == RPC
            else wrong_with_http(target.partition("?")[0], answer.status, answer.body)
        )
        self.book.note(self.name, str(answer.status))
        if wrong:
            self.book.find(wrong, f"{method} {target}\n{answer}", request)
        return answer
