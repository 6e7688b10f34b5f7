"""Calls that the client itself makes to participants: tcc's try, xa's action, a workflow's branches, query-prepared.

The law of this file: a participant is called as the server would call it, over the transport that the server would
choose, and its answer means what it would mean to the server (spec 3.1 to 3.4). Over HTTP the status comes first, but
the words ONGOING and FAILURE anywhere in the body decide too.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TypeVar, cast
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from flowtx.client.answers import shorten
from flowtx.client.errors import BranchFault, ServerUnreachable
from flowtx.client.exchanges import GRPC, ClientAnswer, ClientRequest, Exchange, ask
from flowtx.client.grpc_codes import ABORTED, FAILED_PRECONDITION, OK, code_name
from flowtx_dsl.codec import decoder_of
from flowtx_dsl.errors import Ongoing, PayloadError, Refused

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchResult:
    """What a participant answered with success: a body over HTTP, a result over JSON-RPC, a message over gRPC."""

    url: str
    body: bytes

    def read(self, wanted: type[T]) -> T:
        """The body as this type: a class of protobuf messages, bytes, or what JSON is read as.

        Raises ``PayloadError`` naming the field that does not fit.
        """
        if wanted is bytes:
            return cast("T", self.body)
        parse = getattr(wanted, "FromString", None)
        if parse is not None:
            try:
                return cast("T", parse(self.body))
            except Exception as error:  # protobuf's own, without importing it
                raise PayloadError(f"the answer of {self.url} is no {wanted.__name__}: {error}") from error
        value: T = decoder_of(wanted).decode(self.body, what=f"the answer of {self.url}")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchCall:
    """One op of one branch, and how to ask for it. ``parameters`` are added to the four that every call has.

    ``protocol`` is that of its transaction, which together with the URL says how it is called.
    """

    url: str
    protocol: str
    gid: str
    trans_type: str
    branch_id: str
    op: str
    parameters: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float
    is_last_word: bool = False

    @property
    def is_http(self) -> bool:
        """True when it goes over HTTP, or JSON-RPC."""
        return self.protocol == "http" or self.url.startswith(("http://", "https://"))

    @property
    def is_json_rpc(self) -> bool:
        """True when it goes over JSON-RPC; DTM looks for the word anywhere in the URL."""
        return self.protocol == "json-rpc" and self.is_http and "method" in self.url

    def request(self) -> ClientRequest:
        """The request that makes it; raises ``BranchFault`` where the URL, or a payload for JSON-RPC, is none."""
        if not self.is_http:
            return self._grpc_request()
        return self._json_rpc_request() if self.is_json_rpc else self._http_request()

    def _http_request(self) -> ClientRequest:
        """POST with a body, GET without."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BranchFault(f"branch {self.branch_id} of {self.gid} has the URL {self.url!r}, expected http://...")
        added = urlencode(sorted({**self._facts, **dict(self.parameters)}.items()))
        query = f"{parts.query}&{added}" if parts.query else added
        method = "POST" if self.body or self.trans_type == "xa" else "GET"
        url = parts._replace(path=parts.path or "/", query=query, fragment="").geturl()
        return self._send(method, url, self.body, self.headers)

    def _json_rpc_request(self) -> ClientRequest:
        try:
            given: dict[str, object] = msgspec.json.decode(self.body or b"{}", type=dict[str, object] | None) or {}
        except msgspec.MsgspecError as error:
            raise BranchFault(
                f"branch {self.branch_id} of {self.gid} has the payload {shorten(self.body.decode())}, expected an "
                f"object, whose fields are JSON-RPC's parameters"
            ) from error
        body = {
            "jsonrpc": "2.0",
            "id": uuid.uuid4().hex,
            "method": parse_qs(urlsplit(self.url).query).get("method", [""])[0],
            "params": {**given, **self._facts, **dict(self.parameters)},
        }
        return self._send("POST", self.url, msgspec.json.encode(body), self.headers)

    def _grpc_request(self) -> ClientRequest:
        host, slash, method = self.url.partition("/")
        if "://" in self.url or not slash or not host:
            raise BranchFault(
                f"branch {self.branch_id} of {self.gid} has the URL {self.url!r}, expected host:port/Service/Method "
                "or http://..."
            )
        facts = tuple((f"dtm-{name}", text) for name, text in {**self._facts, **dict(self.parameters)}.items())
        return self._send("CALL", f"{GRPC}{host}/{method}", self.body, (*facts, *self.headers))

    @property
    def _facts(self) -> dict[str, str]:
        return {"gid": self.gid, "trans_type": self.trans_type, "branch_id": self.branch_id, "op": self.op}

    def _send(self, method: str, url: str, body: bytes, headers: tuple[tuple[str, str], ...]) -> ClientRequest:
        return ClientRequest(
            method=method,
            url=url,
            body=body,
            headers=headers,
            timeout_s=self.timeout_s,
            is_last_word=self.is_last_word,
        )


def call_branch(call: BranchCall) -> Exchange[BranchResult]:
    """Call a participant; raises ``Refused``, ``Ongoing`` or ``BranchFault`` for what was not success."""
    try:
        answer = yield from ask(call.request())
    except ServerUnreachable as error:
        raise BranchFault(f"{_named(call)} had no whole answer: {error.__cause__ or error.message}") from error
    if not call.is_http:
        return _grpc_result(call, answer)
    result = _http_result(call, answer)
    return _json_rpc_result(call, result) if call.is_json_rpc else result


def _http_result(call: BranchCall, answer: ClientAnswer) -> BranchResult:
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


def _json_rpc_result(call: BranchCall, answer: BranchResult) -> BranchResult:
    text = answer.body.decode(errors="replace")
    try:
        said = msgspec.json.decode(answer.body, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BranchFault(
            f"{_named(call)} was answered with what is no JSON-RPC: {shorten(text)}", body=text
        ) from error
    match said.get("error"):
        case None:
            return BranchResult(url=call.url, body=msgspec.json.encode(said.get("result")))
        case {"code": -32901, "message": str(message)}:
            raise Refused(f"{_named(call)} was refused: {shorten(message)}")
        case {"code": -32902, "message": str(message)}:
            raise Ongoing(f"{_named(call)} is not finished: {shorten(message)}")
        case _:
            raise BranchFault(f"{_named(call)} was answered with an error: {shorten(text)}", status=200, body=text)


def _grpc_result(call: BranchCall, answer: ClientAnswer) -> BranchResult:
    """What a status means; old participants say "not yet" with ABORTED and this one word."""
    if answer.status == OK:
        return BranchResult(url=call.url, body=answer.body)
    if answer.status == FAILED_PRECONDITION or (answer.status == ABORTED and answer.details == "ONGOING"):
        raise Ongoing(f"{_named(call)} is not finished: {shorten(answer.details)}")
    if answer.status == ABORTED:
        raise Refused(f"{_named(call)} was refused: {shorten(answer.details)}")
    raise BranchFault(
        f"{_named(call)} ended in {code_name(answer.status)}, expected OK: {shorten(answer.details)}",
        status=answer.status,
        body=answer.details,
    )


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
