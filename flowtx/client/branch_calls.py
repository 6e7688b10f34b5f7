"""Calls that the client itself makes to participants: tcc's try, xa's action, a workflow's branches, query-prepared.

The law of this file: a participant is called as the server would call it, and its answer means what it would mean to
the server (spec 3.2): the status first, but the words ONGOING and FAILURE anywhere in the body decide too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from flowtx.client.answers import shorten
from flowtx.client.errors import BranchFault, ServerUnreachable
from flowtx.client.exchanges import ClientAnswer, ClientRequest, Exchange, ask
from flowtx_dsl.codec import decoder_of
from flowtx_dsl.errors import Ongoing, Refused

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchResult:
    """What a participant answered with success."""

    url: str
    body: bytes

    def read(self, wanted: type[T]) -> T:
        """The body, which must be JSON of this type; raises ``PayloadError`` naming the field that does not fit."""
        value: T = decoder_of(wanted).decode(self.body, what=f"the answer of {self.url}")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchCall:
    """One op of one branch, and how to ask for it. ``parameters`` are added to the four that every call has."""

    url: str
    gid: str
    trans_type: str
    branch_id: str
    op: str
    parameters: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float
    is_last_word: bool = False

    def request(self) -> ClientRequest:
        """POST with a body, GET without; raises ``BranchFault`` where the URL is none."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BranchFault(f"branch {self.branch_id} of {self.gid} has the URL {self.url!r}, expected http://...")
        own = {"gid": self.gid, "trans_type": self.trans_type, "branch_id": self.branch_id, "op": self.op}
        added = urlencode(sorted({**own, **dict(self.parameters)}.items()))
        query = f"{parts.query}&{added}" if parts.query else added
        return ClientRequest(
            method="POST" if self.body or self.trans_type == "xa" else "GET",
            url=parts._replace(path=parts.path or "/", query=query, fragment="").geturl(),
            body=self.body,
            headers=self.headers,
            timeout_s=self.timeout_s,
            is_last_word=self.is_last_word,
        )


def call_branch(call: BranchCall) -> Exchange[BranchResult]:
    """Call a participant; raises ``Refused``, ``Ongoing`` or ``BranchFault`` for what was not success."""
    try:
        answer = yield from ask(call.request())
    except ServerUnreachable as error:
        raise BranchFault(f"{_named(call)} had no whole answer: {error.__cause__ or error.message}") from error
    text = answer.body.decode(errors="replace").strip()
    if answer.status == 425 or "ONGOING" in text:
        raise Ongoing(f"{_named(call)} is not finished: {_said(answer, text)}")
    if answer.status == 409 or "FAILURE" in text:
        raise Refused(f"{_named(call)} was refused: {_said(answer, text)}")
    if answer.status != 200:
        raise BranchFault(
            f"{_named(call)} was answered with {answer.status}, expected 200: {shorten(text)}",
            status=answer.status,
            body=text,
        )
    return BranchResult(url=call.url, body=answer.body)


def _named(call: BranchCall) -> str:
    return f"{call.op} of branch {call.branch_id} of {call.gid} at {call.url}"


def _said(answer: ClientAnswer, text: str) -> str:
    """What a participant says for people: the text in the objects that flowtx and DTM's helpers answer, or all."""
    try:
        found = msgspec.json.decode(text, type=dict[str, object])
    except msgspec.MsgspecError:
        found = {}
    said = found.get("message") or found.get("error") or text or f"status {answer.status}"
    return shorten(str(said))
