"""The DTM client without its network: each operation is a generator of HTTP requests (spec 2.2, 2.4, 10).

The law of this file: an operation yields a request, is sent the answer (or thrown ``ServerUnreachable``), and returns
its result or raises. It knows no socket, clock or thread, so one body serves threads, trio and asyncio. Operations of
several requests (a tcc's registration, its try, its submit) are longer generators, not other drivers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from flowtx.client.errors import ClientError, ServerError, ServerOngoing, ServerRefused
from flowtx.client.saga import Saga, saga_body

T = TypeVar("T")

API_PATH = "/api/dtmsvr"
BODY_SHOWN_MAX = 500
"""How many characters of an answer stand in an error's message; ``ServerError.body`` holds all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequest:
    """One request; ``url`` is absolute. ``timeout_s`` is the longest wait for the network's next sign of life."""

    method: str
    url: str
    body: bytes = b""
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAnswer:
    """One whole answer, whatever its status."""

    status: int
    body: bytes


Exchange = Generator[ClientRequest, ClientAnswer, T]


class FoundBranch(msgspec.Struct, frozen=True, kw_only=True):
    """One branch of a transaction as the server has it (spec 2.5)."""

    branch_id: str
    op: str
    status: str
    url: str = ""


class FoundTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction as the server has it (spec 2.5); ``status`` is one of DTM's five words."""

    gid: str
    pattern: str = msgspec.field(name="trans_type")
    status: str = ""
    rollback_reason: str = ""
    branches: tuple[FoundBranch, ...] = ()

    @property
    def is_final(self) -> bool:
        """True when nothing will happen any more."""
        return self.status in ("succeed", "failed")


class _Gid(msgspec.Struct, frozen=True):
    gid: str


class _Found(msgspec.Struct, frozen=True):
    transaction: FoundTransaction | None = None
    branches: tuple[FoundBranch, ...] | None = None


_read_gid = msgspec.json.Decoder(_Gid).decode
_read_found = msgspec.json.Decoder(_Found).decode


class Exchanges:
    """The operations of one server.

    ``url`` is the server's (``http://localhost:36789``), or the base address that other DTM clients are given, which
    ends in ``/api/dtmsvr``. Raises ``ClientError`` for anything else.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self.base = _base(url)
        self.timeout_s = timeout_s

    def new_gid(self) -> Exchange[str]:
        """A gid that nobody has."""
        request = self._get("newGid")
        answer = yield request
        _check_success(request, answer)
        gid = _read(request, answer, _read_gid).gid
        if not gid:
            raise _unreadable(request, answer, "the gid is empty")
        return gid

    def submit(self, saga: Saga) -> Exchange[None]:
        """Hand a saga over."""
        options = saga.options
        # The server answers a waiting submit when the calls are done; it may use their whole time.
        asked_s = options.request_timeout_s or 0
        timeout_s = max(self.timeout_s, asked_s) if options.wait_result else self.timeout_s
        yield from self._write("submit", saga_body(saga), timeout_s)

    def force_stop(self, gid: str) -> Exchange[None]:
        """End a transaction as failed; nothing is called."""
        yield from self._write("forceStop", msgspec.json.encode({"gid": gid}), self.timeout_s)

    def query(self, gid: str) -> Exchange[FoundTransaction | None]:
        """What the server has under a gid; None where it has nothing."""
        request = self._get(f"query?gid={quote(gid, safe='')}")
        answer = yield request
        # Not the word FAILURE: it may rightly stand in a transaction's reason.
        _check_status(request, answer)
        found = _read(request, answer, _read_found)
        if found.transaction is None:
            return None
        return msgspec.structs.replace(found.transaction, branches=found.branches or ())

    def _get(self, operation: str) -> ClientRequest:
        return ClientRequest(method="GET", url=f"{self.base}/{operation}", timeout_s=self.timeout_s)

    def _write(self, operation: str, body: bytes, timeout_s: float) -> Exchange[None]:
        request = ClientRequest(method="POST", url=f"{self.base}/{operation}", body=body, timeout_s=timeout_s)
        answer = yield request
        _check_success(request, answer)


def _base(url: str) -> str:
    plain = url.rstrip("/")
    try:
        parts = urlsplit(plain)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not close
        raise _no_address(url) from None
    if not is_address or parts.query or parts.fragment:
        raise _no_address(url)
    return plain if parts.path else plain + API_PATH


def _no_address(url: str) -> ClientError:
    return ClientError(
        f"the server's address is {url!r}, expected one like http://localhost:36789",
        remedy="Give scheme, host and port; the path /api/dtmsvr is added where there is none.",
    )


def _check_success(request: ClientRequest, answer: ClientAnswer) -> None:
    """As DTM's clients judge a write: only 200 without the word FAILURE is success (spec 10)."""
    _check_status(request, answer)
    if b"FAILURE" in answer.body:
        raise _error(ServerRefused, request, answer)


def _check_status(request: ClientRequest, answer: ClientAnswer) -> None:
    if answer.status == 200:
        return
    if answer.status == 425 or b"ONGOING" in answer.body:
        raise _error(ServerOngoing, request, answer)
    if answer.status == 409 or b"FAILURE" in answer.body:
        raise _error(ServerRefused, request, answer)
    raise _error(ServerError, request, answer)


def _error(kind: type[ServerError], request: ClientRequest, answer: ClientAnswer) -> ServerError:
    body = answer.body.decode(errors="replace")
    shown = body if len(body) <= BODY_SHOWN_MAX else body[:BODY_SHOWN_MAX] + "..."
    return kind(
        f"{request.method} {request.url} was answered with {answer.status}, expected 200: {shown}"
        if answer.status != 200
        else f"{request.method} {request.url} was answered with a failure: {shown}",
        status=answer.status,
        body=body,
    )


def _read(request: ClientRequest, answer: ClientAnswer, decode: Callable[[bytes], T]) -> T:
    try:
        return decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable(request, answer, str(error)) from error


def _unreadable(request: ClientRequest, answer: ClientAnswer, why: str) -> ServerError:
    body = answer.body.decode(errors="replace")
    return ServerError(
        f"{request.method} {request.url} was answered with what no DTM server says ({why}): {body[:BODY_SHOWN_MAX]}",
        status=answer.status,
        body=body,
    )
